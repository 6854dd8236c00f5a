// SPDX-License-Identifier: Apache-2.0

package monitoring

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/test/monitoring/scrape"
)

// Every query of every panel, and of every variable, has data in a healthy cluster.
func TestEveryPanelHasData(t *testing.T) {
	g := NewWithT(t)
	endpoint, _ := serveMetrics(t, healthy.enter(t))
	p := scrape.StartPrometheus(t, endpoint.Config(t))
	queries := scrape.DashboardQueries(t)
	g.Expect(len(queries)).To(BeNumerically(">", 35))
	g.Eventually(func() []string { return p.CheckQueries(queries) }).WithTimeout(30 * time.Second).WithPolling(time.Second).Should(BeEmpty())
}
