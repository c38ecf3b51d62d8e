"""What a hypervisor hands the secure processor, in which order, and what the processor makes of it."""
