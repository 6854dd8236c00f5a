// SPDX-License-Identifier: Apache-2.0

package monitoring

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	client "github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	registry "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/intent"
	"github.com/cpnp-dev/cpnp-operator/internal/metrics"
)

// world is a state of a cluster, as the operator's metrics show it.
type world struct {
	begin, tick func()
	leads       float64
}

// healthy is a cluster in which all is well: a policy is enforced on three nodes,
// a second one is in mode Audit, drift is repaired, and TLS and backups are as
// declared. A few events happen nevertheless, so that every metric has series.
var healthy = world{
	leads: 1,
	begin: func() {
		setPolicies("control-plane", "audited")
		metrics.SetStatus("control-plane", intent.Enforce, status(&v1alpha1.NodeCounts{Enforced: ptr.To(int32(3))},
			"Ready=True", "Accepted=True", "Verified=True", "Programmed=True", "Effective=True", "TaintsInSync=True",
			"TrafficPoliciesInSync=True", "Drifted=False", "TLSCompliant=True", "BackupFresh=True"))
		metrics.SetStatus("audited", intent.Audit, status(nil, "Ready=True", "Effective=False", "Drifted=True"))
		metrics.SetFindings("control-plane", []metrics.Finding{
			{Check: "hosts-restricted", Severity: "low", Controls: []metrics.Control{{Framework: "NSA", ID: "firewall"}}},
		})
		metrics.SetCertificates("control-plane", []metrics.Certificate{
			{Component: "etcd", Node: "cp-1", NotAfter: time.Now().AddDate(0, 0, 300)},
			{Component: "kube-apiserver", Node: "cp-1", NotAfter: time.Now().AddDate(0, 0, 200)},
		})
		metrics.SetBackup("control-plane", time.Now().Add(-time.Hour), 24*time.Hour)
		metrics.CountReleased([]drift.Finding{finding("control-plane", "helm")})
	},
	tick: func() {
		metrics.SetHandshakes("control-plane", []metrics.Handshake{
			{Component: "etcd", Node: "cp-1", Observer: "operator", Took: 4 * time.Millisecond},
			{Component: "kube-apiserver", Node: "cp-1", Observer: "cp-2", Took: 6 * time.Millisecond},
		})
		for _, component := range []string{"etcd", "kube-apiserver"} {
			for _, observer := range []string{"operator", "cp-2"} {
				record(component, observer, metrics.ProbeHandshake, 5*time.Millisecond)
			}
		}
		metrics.CountWrite("Node", nil)
		metrics.ObserveVerification(3 * time.Millisecond)
	},
}

// broken is a cluster in which the cause of every alert is present.
var broken = world{
	begin: func() {
		setPolicies("broken", "suspended", "unknown")
		metrics.SetStatus("broken", intent.Enforce,
			status(&v1alpha1.NodeCounts{Reverted: ptr.To(int32(1)), Pending: ptr.To(int32(1)), Enforced: ptr.To(int32(1))},
				"Ready=False", "Stalled=True", "Effective=False", "Drifted=True", "TLSCompliant=False", "BackupFresh=False"))
		metrics.SetStatus("suspended", intent.Suspend, status(nil, "Ready=True"))
		metrics.SetStatus("unknown", intent.Audit, status(nil, "Ready=True", "TLSCompliant=Unknown", "BackupFresh=Unknown"))
		metrics.SetFindings("broken", []metrics.Finding{
			{Check: "tls-plaintext", Severity: "critical", Controls: []metrics.Control{{Framework: "STIG", ID: "V-242378"}}},
		})
		metrics.SetCertificates("broken", []metrics.Certificate{
			{Component: "etcd", Node: "cp-1", NotAfter: time.Now().AddDate(0, 0, 20)},
			{Component: "etcd", Node: "cp-2", NotAfter: time.Now().AddDate(0, 0, 3)},
			{Component: "kubelet", Node: "cp-1", NotAfter: time.Now().Add(-time.Hour)},
		})
		metrics.SetBackup("broken", time.Now().AddDate(0, 0, -3), 24*time.Hour)
		metrics.SetBackup("unknown", time.Time{}, 24*time.Hour)
	},
	tick: func() {
		record("kube-apiserver", "operator", metrics.ProbeDropped, 0)
		record("etcd", "operator", metrics.ProbeHandshake, 900*time.Millisecond)
		for range 4 {
			record("etcd", "operator", metrics.ProbeDropped, 0)
		}
		metrics.CountWrite("Service", errors.New("no answer"))
	},
}

// enter makes the metrics show the world until the test ends, and returns the served
// metrics: the operator's, and those of its libraries that no manager serves here.
func (w world) enter(t *testing.T) client.Gatherer {
	t.Helper()
	metrics.SetPolicies(nil)
	metrics.SetProbes([]string{"etcd", "kube-apiserver"}, []string{"operator", "cp-2"})
	w.begin()
	libraries := newLibraries(w.leads)
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for every := time.NewTicker(200 * time.Millisecond); ; {
			select {
			case <-ended:
				every.Stop()
				return
			case <-every.C:
				w.tick()
				repairDrift()
				libraries.count()
			}
		}
	}()
	t.Cleanup(func() {
		close(ended)
		<-done
		metrics.SetPolicies(nil)
		metrics.SetProbes(nil, nil)
	})
	return client.Gatherers{client.GathererFunc(gatherOperator), libraries}
}

// drifting are the policies whose drift returns again and again.
var drifting []string

// setPolicies sets the policies. Drift of the first one is repaired at once, but returns again and again.
func setPolicies(names ...string) {
	metrics.SetPolicies(names)
	drifting = names[:1]
	for _, name := range names {
		for _, kind := range []string{"NetworkPolicy", "HostPolicy", "Taint", "Service"} {
			metrics.SetManaged(name, kind, 3)
		}
		metrics.CountApplyError([]string{name}, "Service", "Forbidden")
	}
	repairDrift()
}

func repairDrift() {
	for _, policy := range drifting {
		found := []drift.Finding{finding(policy, "kubectl-edit")}
		metrics.CountDetected(found)
		metrics.CountCorrected(found)
	}
}

func finding(policy, manager string) drift.Finding {
	return drift.Finding{
		Policy: policy, Object: drift.Object{Kind: "Service", Namespace: "shop", Name: "web"}, Field: "externalTrafficPolicy",
		Cause: v1alpha1.CauseModified, State: v1alpha1.StateDrifted, By: drift.Manager{Name: manager},
	}
}

// status returns a status with conditions, written as type=status.
func status(nodes *v1alpha1.NodeCounts, conditions ...string) *v1alpha1.ControlPlaneNetworkPolicyStatus {
	s := &v1alpha1.ControlPlaneNetworkPolicyStatus{Nodes: nodes}
	for _, c := range conditions {
		kind, is, _ := strings.Cut(c, "=")
		s.Conditions = append(s.Conditions, metav1.Condition{Type: kind, Status: metav1.ConditionStatus(is)})
	}
	return s
}

func record(component, observer, result string, took time.Duration) {
	metrics.RecordAttempt(metrics.Attempt{Component: component, Observer: observer, Result: result, Connect: took / 4, Handshake: took})
}

// gatherOperator returns the metrics of the operator, without those of its libraries.
func gatherOperator() ([]*dto.MetricFamily, error) {
	families, err := registry.Registry.Gather()
	return slices.DeleteFunc(families, func(f *dto.MetricFamily) bool { return !strings.HasPrefix(f.GetName(), "cpnp_") }), err
}
