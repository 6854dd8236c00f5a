// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"fmt"
	"os"
	"os/exec"
)

// Variable is the environment variable that, set to "required", makes a packet
// test that can not run fail instead of being skipped. CI sets it.
const Variable = "CPNP_PACKET_TESTS"

// Program is what a test needs on its machines: a command that succeeds where
// both the program and what it asks of the kernel are there.
type Program struct {
	Package string // of Debian
	Command []string
}

// Available says why there can be no network of machines with these programs
// here, or nothing. It takes a few milliseconds.
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

// Required is whether packets must be tried: where they can not be, that is a
// failure.
func Required() bool { return os.Getenv(Variable) == "required" }

// Need skips the test when unavailable is an error of [Available], or fails it
// where packet tests are required. t is a *testing.T.
func Need(t interface {
	Helper()
	Skip(args ...any)
	Fatal(args ...any)
}, unavailable error) {
	t.Helper()
	switch {
	case unavailable == nil:
	case Required():
		t.Fatal(Variable+"=required, but packet tests can not run here:", unavailable)
	default:
		t.Skip("packet tests can not run here:", unavailable)
	}
}
