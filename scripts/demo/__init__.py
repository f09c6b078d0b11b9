"""``make demo``: Airflow, a mailbox of its own, and the way from each mail to the DAG run that it started."""
