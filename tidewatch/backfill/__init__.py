"""History on a cluster: the pipelines' own tasks over archives and topics, partitions in parallel on Dask."""
