// SPDX-License-Identifier: Apache-2.0

package options

import (
	"errors"
	"flag"
	"os"
	"time"
)

// LeaderElectionID is the name of the operator's lease.
const LeaderElectionID = "cpnp-operator.cpnp.dev"

// Uninstall are the options of the command that removes all policies.
type Uninstall struct {
	// Namespace is the namespace of the operator.
	Namespace string
	// Timeout limits the wait for the policies.
	Timeout time.Duration
}

// BindFlags adds the flags to a flag set.
func (u *Uninstall) BindFlags(flags *flag.FlagSet) {
	flags.StringVar(&u.Namespace, "namespace", os.Getenv(podNamespaceVariable),
		"`namespace` of the operator; by default the value of "+podNamespaceVariable)
	flags.DurationVar(&u.Timeout, "timeout", 4*time.Minute, "`duration` to wait for the policies")
}

// Check returns an error if the options are not usable.
func (u *Uninstall) Check() error {
	if u.Namespace == "" {
		return errors.New("the namespace of the operator is not known: set --namespace, or the environment variable " + podNamespaceVariable)
	}
	if u.Timeout <= 0 {
		return errors.New("--timeout must be more than 0")
	}
	return nil
}
