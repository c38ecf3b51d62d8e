"""What a hypervisor really launched: recorded traces, run through the model and held to a plan."""
