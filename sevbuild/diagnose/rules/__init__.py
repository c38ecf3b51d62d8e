"""What a launch can have otherwise: one family of rules a module, each rule with its source."""
