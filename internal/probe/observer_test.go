// SPDX-License-Identifier: Apache-2.0

package probe_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/probe"
	"github.com/cpnp-dev/cpnp-operator/test/crd"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// world is an observer with the requests that the observer sends. The fake client
// cannot merge items of a list; test/probe tests how the API server merges.
type world struct {
	*WithT
	probe.Observer
	applies []string
	answer  error // to the next applies
	dials   int
}

func observing(t *testing.T, enactments ...client.Object) *world {
	w := &world{WithT: NewWithT(t)}
	scheme := runtime.NewScheme()
	w.Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
	w.Client = fake.NewClientBuilder().WithScheme(scheme).WithObjects(enactments...).
		WithInterceptorFuncs(interceptor.Funcs{SubResourceApply: w.apply}).Build()
	w.Name, w.Addresses = "cp-2", []string{"10.0.0.2", "10.0.0.1"}
	w.Clock = clocktesting.NewFakePassiveClock(now)
	w.Dial = func(context.Context, string, string) (net.Conn, error) {
		w.dials++
		here, _ := net.Pipe()
		return here, nil
	}
	return w
}

func (w *world) apply(
	_ context.Context, _ client.Client, subresource string, object runtime.ApplyConfiguration, opts ...client.SubResourceApplyOption,
) error {
	options := (&client.SubResourceApplyOptions{}).ApplyOpts(opts)
	text, err := json.Marshal(object)
	w.Expect(err).NotTo(HaveOccurred())
	w.applies = append(w.applies, fmt.Sprintf("%s %s force=%t %s", subresource, options.FieldManager, ptr.Deref(options.Force, false), text))
	return w.answer
}

func (w *world) reconcile(ctx context.Context) error {
	result, err := w.Reconcile(ctx, reconcile.Request{NamespacedName: client.ObjectKey{Name: "hosts.cp-1"}})
	w.Expect(result).To(BeZero())
	return err
}

// enactment requests a probe round; the given observers have answered up to their own rounds.
func enactment(round int64, observers ...v1alpha1.Observation) *v1alpha1.ControlPlaneNodeEnactment {
	e := &v1alpha1.ControlPlaneNodeEnactment{
		ObjectMeta: metav1.ObjectMeta{Name: "hosts.cp-1", UID: "uid-1"},
		Spec: v1alpha1.ControlPlaneNodeEnactmentSpec{
			Policy: "hosts", Node: "cp-1", ProbeRound: ptr.To(round),
			Targets: []v1alpha1.ProbeTarget{{Address: "192.0.2.1", Port: 6443, Protocol: v1alpha1.ProbeTCP}},
		},
	}
	e.Status.Observers = observers
	e.Status.RequestedProbeRound, e.Status.ProbeRequestHash = round, e.Spec.ProbeRequestHash()
	return e
}

func answered(name string, round int64) v1alpha1.Observation {
	return v1alpha1.Observation{Name: name, ProbeRound: round, Time: &metav1.Time{Time: now}}
}

func TestObserverWritesOnlyItsOwnItem(t *testing.T) {
	w := observing(t, enactment(2, answered("cp-2", 1), answered("cp-3", 2)))
	w.Expect(w.reconcile(t.Context())).To(Succeed())
	w.Expect(w.applies).To(HaveExactElements(`status cpnp.dev/probe.cp-2 force=true {` +
		`"apiVersion":"cpnp.dev/v1alpha1","kind":"ControlPlaneNodeEnactment","metadata":{"name":"hosts.cp-1"},` +
		`"status":{"observers":[{"addresses":["10.0.0.1","10.0.0.2"],"name":"cp-2",` +
		`"probeRound":2,"results":[{"address":"192.0.2.1","outcome":"Open","port":6443}],"time":"2026-01-02T03:04:05Z"}]}}`))
}

func TestObserverAnswersOnlyTheOperatorsRequests(t *testing.T) {
	never := enactment(0)
	never.Spec.ProbeRound = nil
	foreignRound, foreignTarget, foreignNode, undecided := enactment(1), enactment(1), enactment(1), enactment(1)
	foreignRound.Spec.ProbeRound = ptr.To[int64](2)
	foreignTarget.Spec.Targets[0].Address = "192.0.2.7"
	foreignNode.Spec.Node = "cp-2"
	undecided.Status.ProbeRequestHash = ""
	var crowd []v1alpha1.Observation
	for i := range v1alpha1.MaxObservers {
		crowd = append(crowd, answered(fmt.Sprint("node-", i), 1))
	}
	tests := map[string]struct {
		enactment *v1alpha1.ControlPlaneNodeEnactment
		dials     int
	}{
		"no probe round was requested yet":                                             {never, 0},
		"the request is for round 0":                                                   {enactment(0), 0},
		"the request is foreign":                                                       {foreignRound, 0},
		"a target is foreign":                                                          {foreignTarget, 0},
		"the request is for the enactment of another node":                             {foreignNode, 0},
		"the operator did not make the request":                                        {undecided, 0},
		"the observer has not answered yet":                                            {enactment(1), 1},
		"only other observers have answered":                                           {enactment(1, answered("cp-3", 1), answered("operator", 1)), 1},
		"the observer has answered an earlier round":                                   {enactment(3, answered("cp-2", 1)), 1},
		"the observer has answered this round":                                         {enactment(3, answered("cp-2", 3)), 0},
		"the observer has answered a later round, of which the operator knows nothing": {enactment(3, answered("cp-2", 4)), 1},
		"the list of observations is full":                                             {enactment(2, crowd...), 0},
		"the last place in the list of observations is free":                           {enactment(2, append(crowd[1:], answered("cp-2", 1))...), 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := observing(t, test.enactment)
			w.Expect(w.reconcile(t.Context())).To(Succeed())
			w.Expect(w.dials).To(Equal(test.dials))
			w.Expect(w.applies).To(HaveLen(test.dials))
		})
	}
}

func TestDeletedEnactmentIsNotAnswered(t *testing.T) {
	w := observing(t)
	w.Expect(w.reconcile(t.Context())).To(Succeed())
	w.Expect(w.dials).To(BeZero())
}

func TestHowAnObserverTakesARefusedAnswer(t *testing.T) {
	resource := schema.GroupResource{Group: "cpnp.dev", Resource: "controlplanenodeenactments"}
	kind := schema.GroupKind{Group: "cpnp.dev", Kind: "ControlPlaneNodeEnactment"}
	invalid := func(err *field.Error) error { return apierrors.NewInvalid(kind, "hosts.cp-1", field.ErrorList{err}) }
	tooMany := invalid(field.TooMany(field.NewPath("status", "observers"), 17, 16))
	bad := invalid(field.Invalid(field.NewPath("status"), "", ""))
	tests := map[string]struct{ answer, want error }{
		"the enactment was deleted":                 {apierrors.NewNotFound(resource, "hosts.cp-1"), nil},
		"another observer wrote at the same moment": {apierrors.NewConflict(resource, "hosts.cp-1", errors.New("")), apierrors.NewConflict(resource, "hosts.cp-1", errors.New(""))},
		"other observers filled the list first":     {tooMany, nil},
		"every repetition would be refused":         {bad, reconcile.TerminalError(nil)},
		"a repetition may succeed":                  {apierrors.NewServerTimeout(resource, "patch", 1), apierrors.NewServerTimeout(resource, "patch", 1)},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := observing(t, enactment(1))
			w.answer = test.answer
			err := w.reconcile(t.Context())
			if test.want == nil {
				w.Expect(err).NotTo(HaveOccurred())
				return
			}
			w.Expect(err).To(MatchError(test.answer))
			w.Expect(errors.Is(err, reconcile.TerminalError(nil))).To(Equal(errors.Is(test.want, reconcile.TerminalError(nil))))
		})
	}
}

func TestAnObserverWithoutAPlaceReportsThatOnce(t *testing.T) {
	foreignRound, foreignTarget, foreignNode, undecided := enactment(1), enactment(1), enactment(1), enactment(1)
	foreignRound.Spec.ProbeRound = ptr.To[int64](2)
	foreignTarget.Spec.Targets[0].Address = "192.0.2.7"
	foreignNode.Spec.Node = "cp-2"
	undecided.Status.ProbeRequestHash = ""
	var crowd []v1alpha1.Observation
	for i := range v1alpha1.MaxObservers {
		crowd = append(crowd, answered(fmt.Sprint("node-", i), 1))
	}
	w := observing(t, enactment(2, crowd...))
	lines := 0
	ctx := ctrl.LoggerInto(t.Context(), funcr.New(func(string, string) { lines++ }, funcr.Options{}))
	for range 3 {
		w.Expect(w.reconcile(ctx)).To(Succeed())
	}
	w.Expect(lines).To(Equal(1))
}

func TestInterruptedProbeRoundIsNotWritten(t *testing.T) {
	w := observing(t, enactment(1))
	ctx, cancel := context.WithCancel(t.Context())
	w.Dial = func(context.Context, string, string) (net.Conn, error) {
		cancel()
		return nil, context.Canceled
	}
	w.Expect(w.reconcile(ctx)).To(MatchError(context.Canceled))
	w.Expect(w.applies).To(BeEmpty())
}

func TestAnswerToAnOutdatedRequestIsNotWritten(t *testing.T) {
	changes := map[string]func(w *world, e *v1alpha1.ControlPlaneNodeEnactment){
		"the request was changed by somebody else": func(w *world, e *v1alpha1.ControlPlaneNodeEnactment) {
			e.Spec.Targets[0].Port = 22
			w.Expect(w.Client.Update(context.Background(), e)).To(Succeed())
		},
		"the next round was requested": func(w *world, e *v1alpha1.ControlPlaneNodeEnactment) {
			e.Spec.ProbeRound = ptr.To[int64](2)
			e.Status.ProbeRequestHash = e.Spec.ProbeRequestHash()
			w.Expect(w.Client.Update(context.Background(), e)).To(Succeed())
		},
		"the enactment was deleted": func(w *world, e *v1alpha1.ControlPlaneNodeEnactment) {
			w.Expect(w.Client.Delete(context.Background(), e)).To(Succeed())
		},
		"the enactment was replaced": func(w *world, e *v1alpha1.ControlPlaneNodeEnactment) {
			w.Expect(w.Client.Delete(context.Background(), e)).To(Succeed())
			another := enactment(1)
			another.UID = "uid-2"
			w.Expect(w.Client.Create(context.Background(), another)).To(Succeed())
		},
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			w := observing(t, enactment(1))
			w.Dial = func(context.Context, string, string) (net.Conn, error) {
				e := &v1alpha1.ControlPlaneNodeEnactment{}
				w.Expect(w.Client.Get(t.Context(), client.ObjectKey{Name: "hosts.cp-1"}, e)).To(Succeed())
				change(w, e)
				here, _ := net.Pipe()
				return here, nil
			}
			w.Expect(w.reconcile(t.Context())).To(Succeed())
			w.Expect(w.applies).To(BeEmpty())
		})
	}
}

func TestMaximumOfObserversIsThatOfTheCRD(t *testing.T) {
	g := NewWithT(t)
	kinds, err := crd.Load("../../config/crd/bases")
	g.Expect(err).NotTo(HaveOccurred())
	status := kinds[v1alpha1.SchemeGroupVersion.WithKind("ControlPlaneNodeEnactment")].Schema.Properties["status"]
	observers := status.Properties["observers"]
	g.Expect(*observers.ValueValidation.MaxItems).To(BeEquivalentTo(v1alpha1.MaxObservers))
	addresses := observers.Items.Properties["addresses"]
	g.Expect(*addresses.ValueValidation.MaxItems).To(BeEquivalentTo(8), "as many as EnvironmentAddresses returns")
}

func TestObserversConnectToNothingThatTrustsTheirNode(t *testing.T) {
	refused := map[string]bool{
		"10.0.0.11": false, "192.0.2.1": false, "2001:db8::1": false, "fd00:ec2::254": false, "168.63.129.16": false,
		"127.0.0.1": true, "127.8.8.8": true, "::1": true, "::ffff:127.0.0.1": true, "0.0.0.0": true, "::": true,
		"169.254.170.2": true, "169.254.169.253": true, "fe80::1": true, "fe80::1%eth0": true, "::ffff:169.254.170.2": true,
		"224.0.0.18": true, "ff02::12": true, "localhost": true, "": true, "169.254.169.254": true,
	}
	for address, want := range refused {
		target := v1alpha1.ProbeTarget{Address: address, Port: 2379, Protocol: v1alpha1.ProbeTCP}
		w := observing(t)
		w.Expect(probe.IsRefused(target)).To(Equal(want), address)
		results := probe.TryTargets(t.Context(), w.Dial, []v1alpha1.ProbeTarget{target}, probe.IsRefused)
		if want {
			w.Expect(w.dials).To(BeZero(), address)
			w.Expect(results).To(HaveExactElements(HaveField("Outcome", v1alpha1.ProbeUnreachable)))
		}
	}
	metadata := v1alpha1.ProbeTarget{Address: "169.254.169.254", Port: 80, Protocol: v1alpha1.ProbeTCP}
	NewWithT(t).Expect(probe.IsRefused(metadata)).To(BeFalse(), "nodes themselves connect to the cloud's metadata service")
}
