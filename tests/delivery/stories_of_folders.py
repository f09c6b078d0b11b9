"""Stories of folders that are made anew, and of UIDs that mean other mails; see ``stories.py``."""

from __future__ import annotations

from airflow_imap_provider.mailbox.actions import Copy, Move
from tests.delivery.machine import DeliveryMachine
from tests.delivery.telling import begin


def a_new_folder_with_the_old_uids(machine: DeliveryMachine) -> None:
    begin(machine)
    machine.mails_arrive([True, True, True])
    machine.time_passes(40.0)
    machine.the_folder_is_made_anew(restored=False)
    machine.mails_arrive([True, True])
    machine.time_passes(40.0)


def emptied_with_an_event_untaken(machine: DeliveryMachine) -> None:
    begin(machine)
    machine.a_dag_is_paused_or_unpaused(0, 16)
    machine.mails_arrive([True, True])
    machine.time_passes(10.0)
    machine.the_folder_is_made_anew(restored=True)
    machine.time_passes(10.0)
    machine.a_triggerer_is_killed(0)
    machine.a_triggerer_starts(0.0, 0.5)
    machine.the_folder_is_made_anew(restored=False)
    machine.time_passes(40.0)


def told_and_remade_before_the_commit(machine: DeliveryMachine) -> None:
    begin(machine)
    machine.mails_arrive([True, True])
    machine.time_passes(2.0)
    machine.a_triggerer_is_killed(0)
    machine.the_folder_is_made_anew(restored=True)
    machine.a_triggerer_starts(0.0, 0.5)
    machine.time_passes(90.0)


def an_old_mail_moved_here_when_the_folder_was_made_anew(machine: DeliveryMachine) -> None:
    begin(machine)
    machine.mails_arrive([True, True])
    machine.time_passes(40.0)
    machine.a_triggerer_is_killed(0)
    machine.somebody_moves_an_old_mail_here(3000.0)
    machine.the_folder_is_made_anew(restored=True)
    machine.a_triggerer_starts(0.0, 0.5)
    machine.time_passes(90.0)


def uids_that_begin_anew(machine: DeliveryMachine) -> None:
    begin(machine)
    machine.mails_arrive([True, True, True, False])
    machine.time_passes(40.0)
    for _ in range(4):
        machine.somebody_removes_a_mail(0)
    machine.world.renumber_folder()
    machine.mails_arrive([True])
    machine.time_passes(90.0)


def an_action_is_owed_when_uids_begin_anew(machine: DeliveryMachine) -> None:
    begin(machine, actions=(Move("Done"),))
    machine.mails_arrive([True, True, True, True])
    machine.the_server_refuses_changes(1)
    machine.time_passes(10.0)
    for _ in range(4):
        machine.somebody_removes_a_mail(0)
    machine.world.renumber_folder()
    machine.mails_arrive([False, False])
    machine.time_passes(90.0)


def made_anew_and_the_session_stays_in_the_old_folder(machine: DeliveryMachine) -> None:
    begin(machine)
    machine.mails_arrive([True, True])
    machine.time_passes(40.0)
    machine.the_folder_is_made_anew(restored=False, sessions="old")
    machine.mails_arrive([True, True, False])
    machine.time_passes(700.0)


def made_anew_and_the_session_sees_the_new_mails(machine: DeliveryMachine) -> None:
    begin(machine)
    machine.mails_arrive([True, True, True])
    machine.time_passes(40.0)
    machine.the_folder_is_made_anew(restored=False, sessions="new")
    for _ in range(3):
        machine.mails_arrive([True, True])
        machine.time_passes(10.0)
    machine.time_passes(700.0)


def uids_that_begin_anew_under_a_session(machine: DeliveryMachine) -> None:
    begin(machine)
    machine.mails_arrive([True, True, True, False])
    machine.time_passes(40.0)
    for _ in range(4):
        machine.somebody_removes_a_mail(0)
    machine.world.renumber_folder("old")
    machine.mails_arrive([True])
    machine.time_passes(700.0)
    machine.time_passes(700.0)


def a_reader_finds_another_folder_in_a_shared_session(machine: DeliveryMachine) -> None:
    begin(machine, "second", actions=(Copy("Archive"),))
    machine.mails_arrive([True, True])
    machine.the_server_refuses_changes(3)
    machine.time_passes(10.0)
    machine.the_folder_is_made_anew(restored=False, sessions="old")
    machine.mails_arrive([False, False, False])
    machine.the_dag_is_edited(0, 0.0)  # a new reader, which does not know up to where was read in this session
    machine.time_passes(90.0)
    machine.time_passes(700.0)


def made_anew_while_its_owner_was_frozen(machine: DeliveryMachine) -> None:
    begin(machine)
    machine.mails_arrive([True])
    machine.a_moment_passes(0.5)
    machine.time_passes(1.0)
    machine.a_triggerer_freezes_or_thaws(0)
    machine.a_triggerer_starts(0.0, 0.5)
    machine.time_passes(40.0)
    machine.a_moment_passes(0.5)
    machine.the_folder_is_made_anew(restored=True)
    machine.time_passes(40.0)
    machine.a_triggerer_freezes_or_thaws(0)  # and commits what it has told to the folder of before
    machine.time_passes(4.0)
    machine.mails_arrive([True])
    machine.time_passes(40.0)
    machine.nothing_is_wrong()
