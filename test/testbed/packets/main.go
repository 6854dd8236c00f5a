// SPDX-License-Identifier: Apache-2.0

// Command packets prints whether packet tests can run here, and if not, which tests are
// left out and why: go test does not show skipped tests.
package main

import (
	"context"
	"fmt"

	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
)

func main() {
	why := calico.Available(context.Background())
	if why == nil {
		fmt.Println("Packet tests run here.")
		return
	}
	fmt.Printf("Packet tests are left out (most of test/hosts, test/leaving and test/rollout, "+
		"test/testbed/network and test/testbed/calico): %v\n", why)
}
