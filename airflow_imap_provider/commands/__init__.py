"""What ``airflow imap4 …`` does: a module for each subcommand, whose ``run`` gets the parsed arguments."""
