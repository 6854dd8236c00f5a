// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"fmt"
	"os"
	"os/exec"
)

// Variable is an environment variable. With the value "required", a packet test fails where
// the test cannot run; otherwise the test is skipped. CI sets the variable.
const Variable = "CPNP_PACKET_TESTS"

// Program is a program needed by a test: a command that succeeds where the program and the
// needed features of the kernel exist.
type Program struct {
	Package string // of Debian
	Command []string
}

// Available returns the reason why no network of machines with these programs can run here,
// or nil. The check takes a few milliseconds.
func Available(ctx context.Context, programs ...Program) error {
	if _, err := exec.LookPath("ip"); err != nil {
		return fmt.Errorf("no iproute2: %w", err)
	}
	n, err := New(ctx, "probe")
	if err != nil {
		return fmt.Errorf("no network namespaces (as user %d): %w", os.Geteuid(), err)
	}
	defer n.Close()
	for _, program := range programs {
		if _, err := n.Machine("probe").Output(ctx, program.Command[0], program.Command[1:]...); err != nil {
			return fmt.Errorf("no %s: %w", program.Package, err)
		}
	}
	return nil
}

// Required tells whether packet tests must run, so that a machine without the means is a
// failure.
func Required() bool { return os.Getenv(Variable) == "required" }

// Need skips the test when unavailable is an error of [Available], or fails the test where
// packet tests are required. t is a *testing.T.
func Need(t interface {
	Helper()
	Skip(args ...any)
	Fatal(args ...any)
}, unavailable error) {
	t.Helper()
	switch {
	case unavailable == nil:
	case Required():
		t.Fatal(Variable+"=required, but this test cannot run here:", unavailable)
	default:
		t.Skip("this test cannot run here:", unavailable)
	}
}
