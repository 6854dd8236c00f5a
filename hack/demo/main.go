// SPDX-License-Identifier: Apache-2.0

// Command demo shows the operator at work on a real control plane: the demo starts a
// control plane with kwok nodes, installs the CRD, runs the operator with its shipped
// rights, and tells a story with a check after every step. Where network namespaces are
// available, the nodes then become machines with a real Felix on each, and the story
// continues with packets.
//
// Run the demo from the repository's root: make demo. With --once the demo ends by itself;
// without --once, the cluster stays up until Ctrl-C.
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

// The operator's process must end with the demo in every case. The kernel kills a process
// when its starting thread ends. The first thread lives as long as the demo, so the first
// thread must start the operator.
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
		if stopErr := s.closeStage(); err == nil {
			err = stopErr
		}
	}()
	if err := s.openStage(ctx); err != nil {
		return err
	}
	if err := tellStory(ctx, s); err != nil {
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
