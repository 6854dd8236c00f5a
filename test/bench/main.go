// SPDX-License-Identifier: Apache-2.0

// Command bench measures the operator: the shipped program, as a separate process with the
// shipped rights, on a real API server. `make bench` runs this command from the
// repository's root.
//
// Machines differ, and the same machine differs from minute to minute. So the result is a
// comparison of the operator with the smallest program for the same job, at the same time
// on the same machine: for repairs a null repairer (a watch and one prepared PATCH), for
// the first convergence a bare client that patches the same objects in parallel. Nothing is
// asserted; the program fails only if an object is not repaired at all.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// settings are the command line.
type settings struct {
	nodes, services, drifts int
	memoryLimit             int // MiB
	program                 string
}

// limit is the time limit for a whole run. With thousands of objects, the API server needs
// most of this time to fill the cluster and to converge.
const limit = time.Hour

func main() {
	var s settings
	flag.IntVar(&s.nodes, "nodes", 1000, "how many `nodes` the policy selects")
	flag.IntVar(&s.services, "services", 2000, "how many `Services` the policy selects")
	flag.IntVar(&s.drifts, "drifts", 1000, "how many drifts of each kind are repaired")
	flag.IntVar(&s.memoryLimit, "memory", 256, "the memory limit, in `MiB`, that the operator is told; 0 for none")
	flag.StringVar(&s.program, "operator", "", "measure this `program` instead of the one that the repository gives")
	null := flag.String(nullFlag, "", "be the null repairer, with this `kubeconfig`; the program starts itself so")
	flag.Parse()

	if err := run(s, *null); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(s settings, null string) error {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	ctx, cancelLimit := context.WithTimeout(ctx, limit)
	defer cancelLimit()
	switch least := min(s.nodes, s.services); {
	case null != "":
		return beNullRepairer(ctx, null)
	case least < targets:
		return fmt.Errorf("fewer than %d nodes or Services", targets)
	default:
		return runBench(ctx, s)
	}
}
