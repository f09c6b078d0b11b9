"""Short stories for the machine, told by hand: each hits a step of the protocol that must not be left out.

With the production code all end well; with the mutation that stands beside it none does (``test_teeth.py``). Those of
folders that are made anew stand in ``stories_of_folders.py``.
"""

from __future__ import annotations

from airflow_imap_provider.mailbox.actions import Copy, Delete, MarkRead, Move
from tests.delivery import mutations, stories_of_folders
from tests.delivery.machine import SHORT_ANSWERS, UNWELL, DeliveryMachine
from tests.delivery.telling import Story, begin


def quiet_day(machine: DeliveryMachine) -> None:
    begin(machine)
    machine.mails_arrive([True, False, True, True, True, False])
    machine.time_passes(40.0)


def edited_with_an_event_on_its_way(machine: DeliveryMachine) -> None:
    begin(machine)
    for after in (0.2, 0.7, 1.1):
        machine.mails_arrive([True])
        machine.the_dag_is_edited(0, after)
        machine.time_passes(10.0)


def writes_that_fail(machine: DeliveryMachine) -> None:
    begin(machine)
    for number in range(1, 7):
        machine.a_write_will_fail(number, "refused", 0.0)
        machine.mails_arrive([True])
        machine.time_passes(40.0)


def intakes_killed_at_every_step(machine: DeliveryMachine) -> None:
    begin(machine)
    for step in range(14):
        machine.the_next_intake_will_be_killed(0, step)
        machine.mails_arrive([True])
        machine.a_moment_passes(0.5)
        machine.time_passes(4.0)
        machine.mails_arrive([True])
        machine.time_passes(40.0)


def frozen_while_another_takes_over(machine: DeliveryMachine) -> None:
    begin(machine)
    machine.the_scheduler_stands_still(70.0)
    machine.mails_arrive([True, True])
    machine.time_passes(10.0)
    machine.a_triggerer_freezes_or_thaws(0)
    machine.a_triggerer_starts(-45.0, 0.5)
    machine.time_passes(40.0)
    machine.mails_arrive([True])
    machine.time_passes(40.0)
    machine.a_triggerer_freezes_or_thaws(0)
    machine.time_passes(40.0)


def paused_while_mail_comes(machine: DeliveryMachine) -> None:
    begin(machine)
    machine.a_dag_is_paused_or_unpaused(0, 16)
    machine.mails_arrive([True])
    machine.time_passes(90.0)


def started_while_the_asset_is_inactive(machine: DeliveryMachine) -> None:
    begin(machine)
    machine.mails_arrive([True])
    machine.time_passes(10.0)
    machine.a_triggerer_is_killed(0)
    machine.mails_arrive([True])
    machine.time_passes(40.0)
    machine.an_asset_is_inactive(15.0, 0)
    machine.a_triggerer_starts(0.0, 0.5)
    machine.time_passes(40.0)


def killed_around_every_command(machine: DeliveryMachine) -> None:
    begin(machine, actions=(MarkRead(),))
    for number in range(3, 10):
        machine.mails_arrive([True])
        machine.a_triggerer_will_crash(0, "imap", number)
        machine.time_passes(10.0)
        machine.a_triggerer_is_killed(0)
        machine.a_triggerer_starts(0.0, 0.5)
        machine.time_passes(40.0)


def killed_before_the_commit(machine: DeliveryMachine) -> None:
    begin(machine)
    machine.mails_arrive([True])
    machine.time_passes(4.0)
    machine.a_triggerer_is_killed(0)
    machine.a_triggerer_starts(0.0, 0.5)
    machine.time_passes(40.0)


def a_new_consumer(machine: DeliveryMachine) -> None:
    begin(machine)
    machine.a_consumer_is_new_or_renamed(0.0, manual=False)
    machine.mails_arrive([True])
    machine.time_passes(40.0)


def a_new_consumer_paused_while_a_slower_clock_takes_over(machine: DeliveryMachine) -> None:
    begin(machine)
    machine.a_consumer_is_new_or_renamed(0.0, manual=False)
    machine.mails_arrive([True])
    machine.time_passes(10.0)
    machine.a_dag_is_paused_or_unpaused(1, 16)
    another_takes_over(machine, -75.0)


def a_new_consumer_while_a_slower_clock_tells_of_another_place(machine: DeliveryMachine) -> None:
    begin(machine, "second")
    machine.time_passes(10.0)
    machine.the_scheduler_stands_still(70.0)
    machine.a_consumer_is_new_or_renamed(0.0, manual=False)
    machine.mails_arrive([False])  # told of one place only
    machine.time_passes(4.0)
    another_takes_over(machine, -75.0)


def a_new_consumer_while_a_clock_far_behind_takes_over(machine: DeliveryMachine) -> None:
    begin(machine)
    machine.time_passes(10.0)
    machine.the_scheduler_stands_still(70.0)
    machine.a_consumer_is_new_or_renamed(0.0, manual=False)
    machine.mails_arrive([True])
    machine.time_passes(4.0)
    another_takes_over(machine, -2000.0)


def another_takes_over(machine: DeliveryMachine, ahead: float) -> None:
    """The first triggerer dies; the next one, whose clock is wrong, tells of one mail."""
    machine.a_triggerer_is_killed(0)
    machine.a_triggerer_starts(ahead, 0.5)
    machine.mails_arrive([True])
    machine.time_passes(40.0)


def a_first_run_that_could_not_begin(machine: DeliveryMachine) -> None:
    begin(machine)
    machine.a_consumer_is_new_or_renamed(0.0, manual=False)
    machine.no_worker_can_begin(1, 60.0)
    machine.mails_arrive([True])
    machine.time_passes(90.0)
    machine.mails_arrive([True])
    machine.time_passes(10.0)


def many_runs_some_done_again(machine: DeliveryMachine) -> None:
    begin(machine, max_mails=1)
    for _ in range(16):
        machine.mails_arrive([True])
        machine.time_passes(10.0)
    for run in (1, 3, 8, 15):
        machine.somebody_clears_a_run(0, run)
        machine.mails_arrive([True])
        machine.time_passes(10.0)


def lost_connections(machine: DeliveryMachine) -> None:
    begin(machine)
    machine.mails_arrive([True])
    machine.the_connections_are_lost(60.0, mute=True)
    machine.time_passes(90.0)


def an_ailing_server(machine: DeliveryMachine) -> None:
    begin(machine)
    for words in UNWELL:
        machine.the_server_is_not_well(words, 90.0, search=False)
        machine.mails_arrive([True, True, False])
        machine.time_passes(400.0)


def a_broken_mail(machine: DeliveryMachine) -> None:
    begin(machine)
    machine.mails_arrive([True, False])
    machine.a_broken_mail_arrives()
    machine.mails_arrive([True, True])
    machine.time_passes(400.0)


def down_at_first_and_clocks_apart(machine: DeliveryMachine) -> None:
    begin(machine, ahead=75.0, down=40.0)
    machine.mails_arrive([True, True])
    machine.time_passes(90.0)


def two_triggers_restarted(machine: DeliveryMachine) -> None:
    begin(machine, "second")
    machine.mails_arrive([True, *[False] * 14])
    machine.time_passes(10.0)
    machine.a_triggerer_is_killed(0)
    machine.a_triggerer_starts(0.0, 0.5)
    machine.time_passes(40.0)


def a_reset_while_an_action_is_owed_and_the_server_is_away(machine: DeliveryMachine) -> None:
    begin(machine, actions=(MarkRead(),))
    machine.mails_arrive([True, True])
    machine.the_server_refuses_changes(1)
    machine.time_passes(10.0)
    machine.the_connections_are_lost(60.0, mute=False)
    machine.somebody_asks_for_a_reset(0, "all")
    machine.mails_arrive([True])
    machine.time_passes(90.0)


def a_reset_to_new_with_mails_on_their_way(machine: DeliveryMachine) -> None:
    begin(machine, "second", actions=(Copy("Archive"),))
    for index in (0, 1):
        machine.mails_arrive([True, False])
        machine.time_passes(2.0)
        machine.somebody_asks_for_a_reset(index, "new")
        machine.mails_arrive([True, False, True])
        machine.time_passes(90.0)


def a_reset_unknown_to_another_owner_that_finds_the_folder_new(machine: DeliveryMachine) -> None:
    begin(machine)
    machine.a_triggerer_is_killed(0)
    machine.a_triggerer_starts(0.0, 5.0)
    machine.mails_arrive([True, True])
    machine.time_passes(90.0)
    machine.a_triggerer_starts(0.0, 0.5)
    machine.a_triggerer_freezes_or_thaws(0)
    machine.time_passes(40.0)
    machine.the_connections_are_lost(41.0, mute=False)
    machine.somebody_asks_for_a_reset(0, "all")
    machine.time_passes(40.0)  # it is honoured, and nothing can be told again
    machine.a_triggerer_is_killed(1)
    machine.the_folder_is_made_anew(restored=True)
    machine.a_triggerer_freezes_or_thaws(0)
    machine.mails_arrive([True])
    machine.time_passes(90.0)


def edited_while_an_action_is_under_way(machine: DeliveryMachine) -> None:
    begin(machine, actions=(Copy("Archive"),))
    machine.changes_take_long(3.0)
    for after in (4.0, 5.0, 6.0, 7.0):
        machine.mails_arrive([True])
        machine.the_dag_is_edited(0, after)
        machine.time_passes(40.0)


def restarted_when_all_is_done(machine: DeliveryMachine) -> None:
    begin(machine, actions=(Copy("Archive"),))
    machine.mails_arrive([True, True])
    machine.time_passes(400.0)
    machine.a_triggerer_is_killed(0)
    machine.a_triggerer_starts(0.0, 0.5)
    machine.time_passes(90.0)


def others_are_deleted_and_the_triggerer_is_killed(machine: DeliveryMachine) -> None:
    begin(machine, actions=(Copy("Archive"),), no_match=(Delete(),), always=(MarkRead(),))
    for number in range(3, 10):
        machine.mails_arrive([True, False])
        machine.a_triggerer_will_crash(0, "imap", number)
        machine.time_passes(10.0)
        machine.a_triggerer_is_killed(0)
        machine.a_triggerer_starts(0.0, 0.5)
        machine.time_passes(40.0)


def a_broken_mail_among_many_and_beside_another_broken_one(machine: DeliveryMachine) -> None:
    begin(machine, actions=(Move("Done"),), no_match=(Delete(),))
    machine.a_broken_mail_arrives()
    machine.mails_arrive([True, True])
    machine.time_passes(400.0)
    machine.time_passes(700.0)
    machine.time_passes(40.0)
    for _ in range(2):
        machine.mails_arrive([True] * 6)
    machine.a_broken_mail_arrives()
    machine.mails_arrive([True] * 6)
    machine.time_passes(700.0)


def left_out_of_answers_at_first(machine: DeliveryMachine) -> None:
    begin(machine, actions=(MarkRead(),), no_match=(Delete(),))
    machine.mails_arrive([True, False])
    for how in SHORT_ANSWERS:
        for seconds in (0.03, 300.0):
            machine.a_mail_arrives_that_answers_leave_out_at_first(True, how, seconds)
            machine.mails_arrive([True, False])
            machine.time_passes(400.0)


def a_uidnext_that_is_told_too_low(machine: DeliveryMachine) -> None:
    begin(machine, no_match=(Copy("Archive"),))
    machine.mails_arrive([False, True, False])
    machine.time_passes(40.0)
    machine.uidnext_is_told_too_low(3, 3000.0)
    machine.the_connections_are_lost(5.0, mute=False)
    machine.time_passes(90.0)


def a_uidnext_that_is_told_too_low_to_two_triggers(machine: DeliveryMachine) -> None:
    begin(machine, "second", no_match=(Copy("Archive"),))
    machine.mails_arrive([False, True, False])
    machine.time_passes(40.0)
    machine.uidnext_is_told_too_low(3, 3000.0)
    machine.the_connections_are_lost(5.0, mute=False)
    machine.time_passes(90.0)
    machine.mails_arrive([False, True])
    machine.time_passes(700.0)


def marked_by_somebody_else_while_a_move_is_owed_without_move(machine: DeliveryMachine) -> None:
    begin(machine, actions=(Move("Done"),), moves=False)
    machine.the_server_refuses_changes(1)
    machine.mails_arrive([True, True])
    machine.time_passes(10.0)
    machine.somebody_marks_a_mail_as_deleted(0)
    machine.time_passes(90.0)


def restarted_with_a_uidvalidity_of_zero(machine: DeliveryMachine) -> None:
    begin(machine, actions=(Copy("Archive"),), uidvalidity=0)
    machine.mails_arrive([True, True])
    machine.time_passes(400.0)
    machine.a_triggerer_is_killed(0)
    machine.a_triggerer_starts(0.0, 0.5)
    machine.time_passes(90.0)


TEETH: tuple[tuple[Story, mutations.Mutation], ...] = (
    (edited_with_an_event_on_its_way, mutations.commit_without_grace),
    (quiet_day, mutations.commit_without_confirmation),
    (writes_that_fail, mutations.tell_without_an_entry_in_the_journal),
    (intakes_killed_at_every_step, mutations.claim_beside_the_ranges),
    (stories_of_folders.a_new_folder_with_the_old_uids, mutations.forget_the_epoch),
    (stories_of_folders.told_and_remade_before_the_commit, mutations.take_a_mail_again_when_the_folder_was_made_anew),
    (stories_of_folders.emptied_with_an_event_untaken, mutations.nudge_for_the_new_folder_only),
    (frozen_while_another_takes_over, mutations.one_journal_for_all),
    (paused_while_mail_comes, mutations.never_nudge),
    (paused_while_mail_comes, mutations.nobody_registers),
    (quiet_day, mutations.nudge_for_ever),
    (started_while_the_asset_is_inactive, mutations.start_over_when_the_store_looks_empty),
    (killed_around_every_command, mutations.drop_owed_actions),
    (killed_before_the_commit, mutations.take_what_others_have_taken),
    (a_new_consumer, mutations.a_first_run_begins_now),
    (
        a_new_consumer_paused_while_a_slower_clock_takes_over,
        mutations.pass_over_what_looks_older_than_the_first_run,
    ),
    (a_new_consumer_while_a_slower_clock_tells_of_another_place, mutations.compare_clocks_to_the_second),
    (a_new_consumer_while_a_clock_far_behind_takes_over, mutations.compare_clocks_in_one_folder),
    (a_first_run_that_could_not_begin, mutations.keep_the_first_beginning),
    (many_runs_some_done_again, mutations.do_not_look_for_an_earlier_claim),
    (many_runs_some_done_again, mutations.keep_every_claim),
    (lost_connections, mutations.die_of_a_lost_connection),
    (an_ailing_server, mutations.blame_the_mail),
    (a_broken_mail, mutations.never_give_up),
    (stories_of_folders.an_old_mail_moved_here_when_the_folder_was_made_anew, mutations.let_dates_decide),
    (stories_of_folders.uids_that_begin_anew, mutations.believe_uidvalidity),
    (stories_of_folders.an_action_is_owed_when_uids_begin_anew, mutations.act_before_reading),
    (down_at_first_and_clocks_apart, mutations.believe_the_clock),
    (two_triggers_restarted, mutations.commit_without_confirmation),
    (quiet_day, mutations.step_over_the_next_mail),
    (a_reset_while_an_action_is_owed_and_the_server_is_away, mutations.read_nothing_until_a_reset_is_honoured),
    (a_reset_while_an_action_is_owed_and_the_server_is_away, mutations.never_look_for_resets),
    (a_reset_to_new_with_mails_on_their_way, mutations.begin_with_what_comes_after_the_honouring),
    (a_reset_unknown_to_another_owner_that_finds_the_folder_new, mutations.believe_in_epochs_alone),
    (stories_of_folders.made_anew_and_the_session_stays_in_the_old_folder, mutations.never_open_again),
    (stories_of_folders.made_anew_and_the_session_sees_the_new_mails, mutations.never_open_again),
    (stories_of_folders.uids_that_begin_anew_under_a_session, mutations.never_open_again),
    (stories_of_folders.uids_that_begin_anew_under_a_session, mutations.go_on_after_any_opening),
    (stories_of_folders.a_reader_finds_another_folder_in_a_shared_session, mutations.go_on_after_any_opening),
    (edited_while_an_action_is_under_way, mutations.leave_an_action_alone),
    (restarted_when_all_is_done, mutations.strike_off_from_memory_only),
    (others_are_deleted_and_the_triggerer_is_killed, mutations.drop_owed_actions),
    (others_are_deleted_and_the_triggerer_is_killed, mutations.mistake_the_lists),
    (a_broken_mail_among_many_and_beside_another_broken_one, mutations.compare_with_broken_mails_only),
    (marked_by_somebody_else_while_a_move_is_owed_without_move, mutations.take_a_deleted_mail_for_a_copied_one),
    (restarted_with_a_uidvalidity_of_zero, mutations.take_a_uidvalidity_of_zero_for_none),
    (a_uidnext_that_is_told_too_low_to_two_triggers, mutations.step_over_the_next_mail),
    (a_uidnext_that_is_told_too_low, mutations.believe_uidnext),
    (left_out_of_answers_at_first, mutations.take_who_is_left_out_for_gone),
    (left_out_of_answers_at_first, mutations.take_who_has_no_header_for_one_without_subject),
)

OTHERS: tuple[Story, ...] = (stories_of_folders.made_anew_while_its_owner_was_frozen,)
"""What has gone wrong before by more than one step that was left out."""
