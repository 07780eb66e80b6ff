"""How much of the machine a governed training job leaves for training: a job, a plain script and a hand-tuned one."""
