// SPDX-License-Identifier: Apache-2.0

// Command demo shows the operator at work on a real control plane: it starts
// one with kwok nodes, installs the CRD, runs the operator with the rights that
// it is shipped with, and tells a story, of which every step is checked. Where
// there can be network namespaces, the nodes then become machines with a real
// Felix on each, and the story goes on to packets.
//
// Run it from the repository's root: make demo. With --once it ends by itself;
// without, the cluster stays up until Ctrl-C.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"
)

// The operator's process is to end with the demo, however that ends. The kernel
// sees to it when the thread ends that started the process, so the thread must
// be the one that lives as long as the demo: the first.
func init() { runtime.LockOSThread() }

func main() {
	once := flag.Bool("once", false, "end when the story is told, instead of leaving the cluster up")
	flag.Parse()
	ctrl.SetLogger(logr.Discard())

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *once)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "\n✗ %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, once bool) (err error) {
	s := &stage{out: os.Stdout}
	defer func() {
		if stopErr := s.close(); err == nil {
			err = stopErr
		}
	}()
	if err := s.open(ctx); err != nil {
		return err
	}
	if err := tell(ctx, s); err != nil {
		return err
	}
	if once {
		return nil
	}
	fmt.Fprintf(s.out, "\nThe cluster stays up until Ctrl-C. Look around:\n\n  export KUBECONFIG=%s\n  %s get cpnp\n\n",
		s.cluster.KubeconfigPath, s.cluster.Kubectl(ctx).Path)
	<-ctx.Done()
	return nil
}
