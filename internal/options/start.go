// SPDX-License-Identifier: Apache-2.0

package options

import (
	"context"
	"errors"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// Grace is how long the operator may take to end: less than the 30 seconds
// after which the kubelet kills it.
const Grace = 15 * time.Second

// Start runs the manager until the context ends, and for the grace period at
// the most after that. A manager that could not read the cluster before it was
// stopped does not end by itself, and keeps a processor busy (controller-runtime
// v0.25, runnableGroup.Start).
func Start(ctx context.Context, mgr manager.Runnable, grace time.Duration) error {
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	case <-time.After(grace):
		return errors.New("the manager did not end in time: its caches had most likely never been filled")
	}
}
