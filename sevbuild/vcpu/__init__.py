"""CPU models, the save area, and the register state a vCPU starts with."""
