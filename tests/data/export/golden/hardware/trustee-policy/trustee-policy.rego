package policy

import rego.v1

# What is accepted of dstack 1. The values of trust_claims are AR4SI's.
accepted := {
  "targets": [
    {
      "measurement": "7f51e17f72a04d5422cb2c00998166536019a217376f3aa45a630e59c805a599847ff250dbffcd07e1ba639771d6f05d",
      "policy_abi_major": 0,
      "policy_abi_minor": 0,
      "policy_smt_allowed": true,
      "policy_migrate_ma": false,
      "policy_debug_allowed": false,
      "policy_single_socket": false
    }
  ],
  "minimum": {},
  "platform": {},
  "guest": {}
}

default executables := 33

default hardware := 97

default configuration := 36

# The launch digest is that of an accepted target: approved executables were booted.
executables := 3 if {
	some target in accepted.targets
	input.snp.measurement == target.measurement
}

# Genuine hardware, new enough, and a machine that is accepted.
hardware := 2 if {
	input.snp
	every claim, least in accepted.minimum {
		input.snp[claim] >= least
	}
	every claim, values in accepted.platform {
		input.snp[claim] in values
	}
}

# Launched with the guest policy of that target, and with the host data that is accepted.
configuration := 2 if {
	some target in accepted.targets
	every claim, value in target {
		input.snp[claim] == value
	}
	every claim, values in accepted.guest {
		input.snp[claim] in values
	}
}

trust_claims := {
	"executables": executables,
	"hardware": hardware,
	"configuration": configuration,
	"file-system": 0,
	"instance-identity": 0,
	"runtime-opaque": 0,
	"storage-opaque": 0,
	"sourced-data": 0,
}

extensions := []
