"""An Apache Airflow provider that starts pipelines when mail arrives."""

__version__ = "0.1.0"
