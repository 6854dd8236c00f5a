// SPDX-License-Identifier: Apache-2.0

package monitoring

import (
	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// libraries serves the metrics of a manager's libraries that the alerts and the
// dashboard use, because no manager runs here. The metrics of the Go runtime and of the
// process are real. The test with the real operator shows that the names are right.
type libraries struct {
	*client.Registry
	reconciled, failed, requests *client.CounterVec
	took                         *client.HistogramVec
}

func newLibraries(leads float64) *libraries {
	l := &libraries{
		Registry:   client.NewRegistry(),
		reconciled: client.NewCounterVec(client.CounterOpts{Name: "controller_runtime_reconcile_total", Help: "-"}, []string{"controller", "result"}),
		failed:     client.NewCounterVec(client.CounterOpts{Name: "controller_runtime_reconcile_errors_total", Help: "-"}, []string{"controller"}),
		requests:   client.NewCounterVec(client.CounterOpts{Name: "rest_client_requests_total", Help: "-"}, []string{"code", "method", "host"}),
		took: client.NewHistogramVec(client.HistogramOpts{Name: "controller_runtime_reconcile_time_seconds", Help: "-"},
			[]string{"controller"}),
	}
	leader := client.NewGaugeVec(client.GaugeOpts{Name: "leader_election_master_status", Help: "-"}, []string{"name"})
	leader.WithLabelValues("cpnp-operator.cpnp.dev").Set(leads)
	depth := client.NewGaugeVec(client.GaugeOpts{Name: "workqueue_depth", Help: "-"}, []string{"name", "controller", "priority"})
	depth.WithLabelValues("policy", "policy", "0").Set(1)
	l.MustRegister(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	l.MustRegister(l.reconciled, l.failed, l.requests, l.took, leader, depth)
	l.count()
	return l
}

func (l *libraries) count() {
	for _, controller := range []string{"policy", "node", "service"} {
		l.reconciled.WithLabelValues(controller, "success").Inc()
		l.failed.WithLabelValues(controller).Add(0)
		l.took.WithLabelValues(controller).Observe(.01)
	}
	l.requests.WithLabelValues("200", "GET", "10.0.0.1:6443").Inc()
}
