// SPDX-License-Identifier: Apache-2.0

package options_test

import (
	"context"
	"errors"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/cpnp-dev/cpnp-operator/internal/options"
)

func TestTheOperatorEndsAlsoWhereItsManagerDoesNot(t *testing.T) {
	g := NewWithT(t)
	ctx, cancel := context.WithCancel(t.Context())
	release := make(chan struct{})
	defer close(release)
	hangs := manager.RunnableFunc(func(context.Context) error { <-release; return nil })
	cancel()
	g.Expect(options.Start(ctx, hangs, time.Millisecond)).To(MatchError(ContainSubstring("did not end in time")))
}

func TestTheOperatorEndsAsItsManagerDoes(t *testing.T) {
	g := NewWithT(t)
	failed := errors.New("failed")
	fails := manager.RunnableFunc(func(context.Context) error { return failed })
	g.Expect(options.Start(t.Context(), fails, time.Minute)).To(MatchError(failed))
	ctx, cancel := context.WithCancel(t.Context())
	ends := manager.RunnableFunc(func(ctx context.Context) error { cancel(); <-ctx.Done(); return nil })
	g.Expect(options.Start(ctx, ends, time.Minute)).To(Succeed())
}
