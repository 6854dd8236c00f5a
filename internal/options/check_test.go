// SPDX-License-Identifier: Apache-2.0

package options_test

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/internal/options"
)

// A check waits until the operator is ready, and fails if it never is.
func TestCheckWaitsForReadiness(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) == 1 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	defer server.Close()
	g := NewWithT(t)

	check := options.Check{URL: server.URL + "/readyz", Timeout: time.Minute}
	g.Expect(check.Run(t.Context())).To(Succeed())
	g.Expect(asked.Load()).To(Equal(int32(2)), "the check repeats its request")

	asked.Store(0)
	check.Timeout = time.Millisecond
	g.Expect(check.Run(t.Context())).To(MatchError(ContainSubstring("not ready after 1ms")))
	check.URL = ""
	g.Expect(check.Run(t.Context())).To(MatchError(ContainSubstring("set --url")))
}
