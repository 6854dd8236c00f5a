// SPDX-License-Identifier: Apache-2.0

package watch_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/internal/watch"
)

// fakeCache is a cache that has synced, or has not.
type fakeCache bool

func (f fakeCache) WaitForCacheSync(ctx context.Context) bool {
	if !f {
		<-ctx.Done()
	}
	return bool(f)
}

func TestReadyOnceTheClusterIsRead(t *testing.T) {
	g := NewWithT(t)
	request := httptest.NewRequest(http.MethodGet, "/readyz", nil)
	g.Expect(watch.Synced(fakeCache(true))(request)).To(Succeed())
	g.Expect(watch.Synced(fakeCache(false))(request)).To(MatchError(ContainSubstring("not been read yet")))
}
