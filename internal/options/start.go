// SPDX-License-Identifier: Apache-2.0

package options

import (
	"context"
	"errors"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// Start runs the manager until the context ends, and at most for the grace period after
// the end. A manager that was stopped before the first read of the cluster does not
// end, and keeps a processor busy (controller-runtime v0.25, runnableGroup.Start).
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
		return errors.New("the manager did not end in time: " +
			"most likely the caches were never filled, so check that the API server can be reached")
	}
}
