package policy

import rego.v1

# What is accepted of matrix 1.0 <beta> & more. The values of trust_claims are AR4SI's.
accepted := {
  "targets": [
    {
      "measurement": "3b780c9b567ca7475ab04c023d730e274a4033e0b2642ab8bee587e7bf00fa9aa29fb99ee1f2eac3af2f44051301aee4",
      "policy_abi_major": 0,
      "policy_abi_minor": 0,
      "policy_smt_allowed": true,
      "policy_migrate_ma": false,
      "policy_debug_allowed": false,
      "policy_single_socket": false
    },
    {
      "measurement": "82a9b4d722a7d58c03dca7e32ab4d7fb010c9fff609cf2b6816c4216b2511a9de3d2198ddc6d579f533fba75c0ccc650",
      "policy_abi_major": 0,
      "policy_abi_minor": 0,
      "policy_smt_allowed": true,
      "policy_migrate_ma": false,
      "policy_debug_allowed": false,
      "policy_single_socket": false
    },
    {
      "measurement": "bcc61c5068c6e169334f1f09681088118ef61995f6c0ca11a7ce087a301809f0c7790f88f341512a54549bccec7385d5",
      "policy_abi_major": 0,
      "policy_abi_minor": 0,
      "policy_smt_allowed": true,
      "policy_migrate_ma": false,
      "policy_debug_allowed": false,
      "policy_single_socket": false
    },
    {
      "measurement": "126749e569199825d3d20cccfb747b6f66bfe534b92e8ce2bdac4968c78ee7812f162485b71858df72fa0bd6bf42d0c4",
      "policy_abi_major": 0,
      "policy_abi_minor": 0,
      "policy_smt_allowed": true,
      "policy_migrate_ma": false,
      "policy_debug_allowed": false,
      "policy_single_socket": false
    },
    {
      "measurement": "c0bd1f178c4ddd5dbfb1b8cb845b5f8c3549a94e831454dd56eef006213bed98b363c7c277cfa39ac749c0f1d8ddb650",
      "policy_abi_major": 0,
      "policy_abi_minor": 0,
      "policy_smt_allowed": true,
      "policy_migrate_ma": false,
      "policy_debug_allowed": false,
      "policy_single_socket": false
    },
    {
      "measurement": "f1bf4537b611319f3d6e18c1314003fe50e19bbf9ae7dcd0e11b25a9eee7da9caa74a0f82a323d088c06735e5c1732fd",
      "policy_abi_major": 0,
      "policy_abi_minor": 0,
      "policy_smt_allowed": true,
      "policy_migrate_ma": false,
      "policy_debug_allowed": false,
      "policy_single_socket": false
    },
    {
      "measurement": "b4c79deb006b1671a168a1208af114d3a686a061ac3060cb41cf0e42bb2756d2ac7a7bb485234417631be9dfc18c9948",
      "policy_abi_major": 0,
      "policy_abi_minor": 0,
      "policy_smt_allowed": true,
      "policy_migrate_ma": false,
      "policy_debug_allowed": false,
      "policy_single_socket": false
    },
    {
      "measurement": "b70c6daa92235331380e1a33087502fc17aa50b168a0586d706feb7bf6b07449d1cbe35fc34069db86d4b942fc6adb99",
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
