"""The commands of ``airflow imap4``, a module each."""
