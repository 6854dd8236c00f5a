// SPDX-License-Identifier: Apache-2.0

package metrics_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	registry "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	_ "github.com/cpnp-dev/cpnp-operator/internal/backend/calico" // registers its kinds
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/intent"
	"github.com/cpnp-dev/cpnp-operator/internal/metrics"
)

// The bounds on the number of series, as Prometheus counts them: each bucket, sum and count of a
// classic histogram is a series. usualBound is for the usual label values of a cluster of this size,
// worstBound for every policy with every label value that the operator has. docs/metrics.md names both.
const (
	usualBound = 10_000
	worstBound = 50_000
)

// size is the size of a cluster.
type size struct{ nodes, controlPlaneNodes, observers, policies int }

var large = size{nodes: 5000, controlPlaneNodes: 7, observers: v1alpha1.MaxObservers, policies: 20}

func TestSeriesAreBounded(t *testing.T) {
	tests := map[string]struct {
		of    size
		words words
		bound int
	}{
		"usual": {large, usualWords, usualBound},
		"worst": {large, allWords(), worstBound},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Cleanup(func() { metrics.SetPolicies(nil); metrics.SetProbes(nil, nil) })
			recordEverything(test.of, test.words)
			count := countSeries(t)
			t.Logf("%d series", count)
			if count > test.bound {
				t.Errorf("%d series, more than %d", count, test.bound)
			}
			more := test.of
			more.nodes *= 2
			recordEverything(more, test.words)
			if again := countSeries(t); again != count {
				t.Errorf("%d series with %d nodes, instead of %d with %d", again, more.nodes, count, test.of.nodes)
			}
		})
	}
}

// words are the label values that occur.
type words struct {
	driftKinds, managers, reasons, components, results, checks []string
	postured                                                   int // policies that declare a posture
	controls                                                   int // of each check
}

// usualWords are the label values of a cluster with drift of two kinds by
// three managers, and with one policy for TLS and backups.
var usualWords = words{
	driftKinds: []string{"Node", "Service"}, managers: []string{"kubectl", "helm", "argocd-controller"}, reasons: []string{"Forbidden", "Timeout"},
	components: []string{"kube-apiserver", "etcd", "etcd-peer", "kubelet", "kube-scheduler", "kube-controller-manager"},
	results:    []string{metrics.ProbeHandshake, metrics.ProbeDropped}, checks: []string{"tls-version", "tls-certificate-expiring"},
	postured: 1, controls: 4,
}

func allWords() words {
	w := words{
		driftKinds: append(slices.Clone(backend.KindNames()), "Node", "Service", "NetworkPolicy"),
		managers: []string{
			"", "kubectl-edit", "cpnp.dev/network", "argocd-controller", "argocd-application-controller", "kustomize-controller", "helm-controller",
			"helm", "kube-controller-manager", "cloud-controller-manager", "kubelet", "kube-apiserver", "somebody",
		},
		components: append(slices.Clone(usualWords.components), "additional-1", "additional-2"),
		results: []string{
			metrics.ProbeHandshake, metrics.ProbePlaintext, metrics.ProbeHandshakeFailed, metrics.ProbeSilent, metrics.ProbeRefused,
			metrics.ProbeDropped, metrics.ProbeUnreachable, "else",
		},
		postured: large.policies, controls: 6,
	}
	for i := range 11 {
		w.checks = append(w.checks, fmt.Sprint("check-", i))
	}
	for _, reason := range []metav1.StatusReason{
		"Unauthorized", "Forbidden", "NotFound", "AlreadyExists", "Conflict", "Gone", "Invalid", "ServerTimeout", "Timeout", "TooManyRequests",
		"BadRequest", "MethodNotAllowed", "NotAcceptable", "RequestEntityTooLarge", "UnsupportedMediaType", "InternalError", "Expired",
		"ServiceUnavailable", "Incomplete", "Unknown", "else",
	} {
		w.reasons = append(w.reasons, string(reason))
	}
	return w
}

// recordEverything records for every policy, node and observer all label values in the words.
func recordEverything(of size, w words) {
	policies, observers, nodes := names("policy-", of.policies), names("observer-", of.observers), names("node-", of.nodes)
	metrics.SetPolicies(policies)
	metrics.SetProbes(w.components, observers)
	for i, policy := range policies {
		recordDrift(policy, nodes, w)
		metrics.SetStatus(policy, intent.Enforce, fullStatus())
		if i < w.postured {
			recordPosture(policy, nodes[:of.controlPlaneNodes], observers, w)
		}
	}
	for _, kind := range append(w.driftKinds, "ControlPlaneNetworkPolicy", "ControlPlaneNodeEnactment", "ControlPlaneNodeRecord", "ControlPlaneNodePosture") {
		for _, err := range []error{
			nil, errors.New("no answer"), apierrors.NewConflict(schema.GroupResource{}, "x", nil), apierrors.NewForbidden(schema.GroupResource{}, "x", nil),
		} {
			metrics.CountWrite(kind, err)
		}
	}
	metrics.ObserveVerification(time.Millisecond)
}

func recordDrift(policy string, nodes []string, w words) {
	for _, kind := range w.driftKinds {
		for i, node := range nodes {
			found := drift.Finding{
				Policy: policy, Object: drift.Object{Kind: kind, Name: node}, Field: "spec.taints", State: v1alpha1.StateDrifted,
				Cause: []v1alpha1.DriftCause{v1alpha1.CauseMissing, v1alpha1.CauseModified, v1alpha1.CauseUnexpected}[i%3],
				By:    drift.Manager{Name: w.managers[i/3%len(w.managers)]},
			}
			metrics.CountDetected([]drift.Finding{found})
			metrics.CountCorrected([]drift.Finding{found})
			metrics.CountReleased([]drift.Finding{found})
		}
		for _, reason := range w.reasons {
			metrics.CountApplyError([]string{policy}, kind, reason)
		}
	}
	for _, kind := range []string{"NetworkPolicy", "HostPolicy", "Taint", "Service"} {
		metrics.SetManaged(policy, kind, 5000)
	}
}

// fullStatus is a status with every condition.
func fullStatus() *v1alpha1.ControlPlaneNetworkPolicyStatus {
	status := &v1alpha1.ControlPlaneNetworkPolicyStatus{Nodes: &v1alpha1.NodeCounts{}}
	for _, kind := range []string{
		"Accepted", "Verified", "Programmed", "Effective", "TaintsInSync", "TrafficPoliciesInSync", "Drifted", "Ready", "Reconciling", "Stalled",
		"TLSCompliant", "BackupFresh",
	} {
		status.Conditions = append(status.Conditions, metav1.Condition{Type: kind, Status: metav1.ConditionTrue})
	}
	return status
}

func recordPosture(policy string, nodes, observers []string, w words) {
	var certificates []metrics.Certificate
	var handshakes []metrics.Handshake
	for _, component := range w.components {
		for _, node := range nodes {
			certificates = append(certificates, metrics.Certificate{Component: component, Node: node, NotAfter: time.Unix(2e9, 0)})
			for _, observer := range observers {
				handshakes = append(handshakes, metrics.Handshake{Component: component, Node: node, Observer: observer, Took: time.Millisecond})
			}
		}
		for _, observer := range observers {
			for _, result := range w.results {
				metrics.RecordAttempt(metrics.Attempt{
					Component: component, Observer: observer, Result: result, Connect: time.Millisecond, Handshake: time.Millisecond,
				})
			}
		}
	}
	metrics.SetCertificates(policy, certificates)
	metrics.SetHandshakes(policy, handshakes)
	metrics.SetBackup(policy, time.Unix(2e9, 0), time.Hour)
	var found []metrics.Finding
	for _, check := range w.checks {
		f := metrics.Finding{Check: check, Severity: "high"}
		for i := range w.controls {
			f.Controls = append(f.Controls, metrics.Control{Framework: fmt.Sprint("framework-", i), ID: fmt.Sprint(check, "-", i)})
		}
		found = append(found, f)
	}
	metrics.SetFindings(policy, found)
}

func names(prefix string, count int) []string {
	out := make([]string, count)
	for i := range out {
		out[i] = fmt.Sprint(prefix, i)
	}
	return out
}

// countSeries returns the number of the operator's series in Prometheus.
func countSeries(t *testing.T) int {
	t.Helper()
	families, err := registry.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, family := range families {
		if !strings.HasPrefix(family.GetName(), "cpnp_") {
			continue
		}
		for _, m := range family.GetMetric() {
			if family.GetType() == dto.MetricType_HISTOGRAM {
				count += len(m.GetHistogram().GetBucket()) + 3 // the bucket +Inf, the sum and the count
				continue
			}
			count++
		}
	}
	return count
}
