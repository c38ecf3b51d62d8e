"""Who a guest is, and who may talk to it: ID blocks, keys, SEV sessions and launch secrets."""
