"""Training on several nodes of a cluster: render the job, follow it, end as it ends."""
