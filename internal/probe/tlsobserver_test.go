// SPDX-License-Identifier: Apache-2.0

package probe_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/probe"
	"github.com/cpnp-dev/cpnp-operator/internal/tlsprobe"
)

// tlsWorld is a TLS observer of the node cp-1, whose targets refuse connections.
type tlsWorld struct {
	*WithT
	*probe.TLSObserver
	clock   *clocktesting.FakePassiveClock
	dialled []string
	applies []v1alpha1.TLSObservation
	dial    func(address string) (net.Conn, error)
	answer  error // to writes
}

func observingTLS(t *testing.T, name string, posture *v1alpha1.ControlPlaneNodePosture) *tlsWorld {
	t.Helper()
	w := &tlsWorld{WithT: NewWithT(t), clock: clocktesting.NewFakePassiveClock(now)}
	scheme := runtime.NewScheme()
	w.Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
	builder := fake.NewClientBuilder().WithScheme(scheme).WithInterceptorFuncs(interceptor.Funcs{
		SubResourceApply: func(_ context.Context, _ client.Client, _ string, object runtime.ApplyConfiguration, _ ...client.SubResourceApplyOption) error {
			text, err := json.Marshal(object)
			w.Expect(err).NotTo(HaveOccurred())
			var applied v1alpha1.ControlPlaneNodePosture
			w.Expect(json.Unmarshal(text, &applied)).To(Succeed())
			w.applies = append(w.applies, applied.Status.Observers...)
			return w.answer
		},
	})
	if posture != nil {
		builder = builder.WithObjects(posture)
	}
	w.dial = func(string) (net.Conn, error) { return nil, syscall.ECONNREFUSED }
	w.TLSObserver = &probe.TLSObserver{Client: builder.Build(), Name: name, Clock: w.clock, Prober: tlsprobe.Prober{
		Dial: func(_ context.Context, _, address string) (net.Conn, error) {
			w.dialled = append(w.dialled, address)
			return w.dial(address)
		},
		Limits: tlsprobe.Limits{Parallel: 1},
	}}
	return w
}

func (w *tlsWorld) reconcileTLS(ctx context.Context) (reconcile.Result, error) {
	return w.Reconcile(ctx, reconcile.Request{NamespacedName: client.ObjectKey{Name: "p.cp-1"}})
}

func nodePosture(observers ...v1alpha1.TLSObservation) *v1alpha1.ControlPlaneNodePosture {
	return &v1alpha1.ControlPlaneNodePosture{
		ObjectMeta: metav1.ObjectMeta{Name: "p.cp-1", UID: "u", Generation: 2},
		Spec: v1alpha1.ControlPlaneNodePostureSpec{Policy: "p", Node: "cp-1", IntervalSeconds: 100, Targets: []v1alpha1.TLSTarget{
			{Address: "127.0.0.1", Port: 10259, Component: v1alpha1.PostureScheduler},
			{Address: "192.0.2.1", Port: 6443, Component: v1alpha1.PostureAPIServer},
			// The API server or the operator refuses these targets, and so does the observer.
			{Address: "169.254.169.254", Port: 80, Component: v1alpha1.PostureAPIServer},
			{Address: "168.63.129.16", Port: 80, Component: v1alpha1.PostureAPIServer},
			{Address: "fd00:ec2::254", Port: 80, Component: v1alpha1.PostureAPIServer},
			{Address: "127.0.0.1", Port: 10248, Component: v1alpha1.PostureKubelet},
			{Address: "127.0.0.53", Port: 10259, Component: v1alpha1.PostureScheduler},
			{Address: "127.0.0.1", Port: 22, Component: v1alpha1.PostureScheduler},
		}},
		Status: v1alpha1.ControlPlaneNodePostureStatus{Observers: observers},
	}
}

func item(name string, generation int64, age time.Duration) v1alpha1.TLSObservation {
	return v1alpha1.TLSObservation{Name: name, ObservedGeneration: generation, Time: &metav1.Time{Time: now.Add(-age)}}
}

func TestOnlyTheNodeItselfProbesLoopback(t *testing.T) {
	for name, want := range map[string][]string{"cp-1": {"127.0.0.1:10259", "192.0.2.1:6443"}, "cp-2": {"192.0.2.1:6443"}, v1alpha1.ObserverOperator: {"192.0.2.1:6443"}} {
		t.Run(name, func(t *testing.T) {
			w := observingTLS(t, name, nodePosture())
			_, err := w.reconcileTLS(t.Context())
			w.Expect(err).NotTo(HaveOccurred())
			w.Expect(w.dialled).To(Equal(want))
			w.Expect(w.applies).To(HaveLen(1))
			w.Expect(w.applies[0]).To(And(HaveField("Name", name), HaveField("ObservedGeneration", int64(2)), HaveField("Results", HaveLen(len(want)))))
			w.Expect(w.applies[0].Results).To(HaveEach(HaveField("Outcome", v1alpha1.TLSRefused)))
		})
	}
}

func TestTLSIsProbedOnceInEachInterval(t *testing.T) {
	tests := map[string]struct {
		posture *v1alpha1.ControlPlaneNodePosture
		due     bool
	}{
		"never":                            {nodePosture(), true},
		"only by other observers":          {nodePosture(item("cp-2", 2, 0)), true},
		"by this observer just now":        {nodePosture(item("cp-1", 2, 0)), false},
		"an interval ago":                  {nodePosture(item("cp-1", 2, 99*time.Second)), false},
		"longer ago than the jitter":       {nodePosture(item("cp-1", 2, 110*time.Second)), true},
		"at other targets":                 {nodePosture(item("cp-1", 1, 0)), true},
		"by a clock that was ahead":        {nodePosture(item("cp-1", 2, -time.Hour)), true},
		"the posture was deleted":          {nil, false},
		"the list of observations is full": {nodePosture(crowd()...), false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := observingTLS(t, "cp-1", test.posture)
			result, err := w.reconcileTLS(t.Context())
			w.Expect(err).NotTo(HaveOccurred())
			w.Expect(len(w.applies) == 1).To(Equal(test.due))
			if test.posture != nil {
				w.Expect(result.RequeueAfter).To(And(BeNumerically(">", 0), BeNumerically("<=", 110*time.Second)))
			}
			if test.due {
				w.Expect(result.RequeueAfter).To(BeNumerically(">=", 99*time.Second))
			}
		})
	}
}

func crowd() []v1alpha1.TLSObservation {
	var items []v1alpha1.TLSObservation
	for i := range v1alpha1.MaxObservers {
		items = append(items, item(string(rune('a'+i)), 2, 0))
	}
	return items
}

func TestResultOfAnOutdatedTLSRoundIsNotWritten(t *testing.T) {
	changes := map[string]func(w *tlsWorld, p *v1alpha1.ControlPlaneNodePosture){
		"other targets": func(w *tlsWorld, p *v1alpha1.ControlPlaneNodePosture) {
			p.Generation, p.Spec.Targets = 3, nil
			w.Expect(w.Client.Update(context.Background(), p)).To(Succeed())
		},
		"gone": func(w *tlsWorld, p *v1alpha1.ControlPlaneNodePosture) {
			w.Expect(w.Client.Delete(context.Background(), p)).To(Succeed())
		},
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			w := observingTLS(t, "cp-1", nodePosture())
			once := true
			w.dial = func(string) (net.Conn, error) {
				if once {
					once = false
					p := &v1alpha1.ControlPlaneNodePosture{}
					w.Expect(w.Client.Get(context.Background(), client.ObjectKey{Name: "p.cp-1"}, p)).To(Succeed())
					change(w, p)
				}
				return nil, syscall.ECONNREFUSED
			}
			_, err := w.reconcileTLS(t.Context())
			w.Expect(err).NotTo(HaveOccurred())
			w.Expect(w.applies).To(BeEmpty())
		})
	}
}

func TestInterruptedTLSRoundIsNotWritten(t *testing.T) {
	w := observingTLS(t, "cp-1", nodePosture())
	ctx, cancel := context.WithCancel(t.Context())
	w.dial = func(string) (net.Conn, error) {
		cancel()
		return nil, errors.New("interrupted")
	}
	_, err := w.reconcileTLS(ctx)
	w.Expect(err).To(MatchError(context.Canceled))
	w.Expect(w.applies).To(BeEmpty())
}

func TestAnUnwrittenResultRepeatsTheWriteAndNotTheRound(t *testing.T) {
	w := observingTLS(t, "cp-1", nodePosture())
	w.answer = errors.New("the API server is busy")
	for range 3 {
		_, err := w.reconcileTLS(t.Context())
		w.Expect(err).To(MatchError(ContainSubstring("busy")))
	}
	w.Expect(w.dialled).To(HaveLen(2), "one probe round")
	w.Expect(w.applies).To(HaveLen(3), "three writes")
	w.answer = nil
	for range 2 { // the item is missing, as if somebody had removed it
		result, err := w.reconcileTLS(t.Context())
		w.Expect(err).NotTo(HaveOccurred())
		w.Expect(result.RequeueAfter).To(BeNumerically(">", 90*time.Second))
	}
	w.Expect(w.dialled).To(HaveLen(2))
	w.Expect(w.applies).To(HaveLen(4))
	w.clock.SetTime(now.Add(111 * time.Second))
	_, err := w.reconcileTLS(t.Context())
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(w.dialled).To(HaveLen(4), "the next probe round")
}

func TestPlacesAreReservedForTheNodeItselfAndTheOperator(t *testing.T) {
	others := func(count int) []v1alpha1.TLSObservation { return crowd()[:count] }
	for name, test := range map[string]struct {
		observers []v1alpha1.TLSObservation
		writes    int
	}{"worker": {others(14), 0}, "cp-1": {others(14), 1}, "operator": {others(14), 1}, "other": {others(13), 1}} {
		t.Run(name, func(t *testing.T) {
			w := observingTLS(t, name, nodePosture(test.observers...))
			_, err := w.reconcileTLS(t.Context())
			w.Expect(err).NotTo(HaveOccurred())
			w.Expect(w.applies).To(HaveLen(test.writes))
		})
	}
}

func TestOperatorDoesNotProbeLoopback(t *testing.T) {
	p := nodePosture()
	p.Spec.Node = v1alpha1.ObserverOperator
	w := observingTLS(t, v1alpha1.ObserverOperator, p)
	_, err := w.reconcileTLS(t.Context())
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(w.dialled).To(Equal([]string{"192.0.2.1:6443"}))
}
