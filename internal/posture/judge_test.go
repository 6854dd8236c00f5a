// SPDX-License-Identifier: Apache-2.0

package posture_test

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/posture"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

const (
	address  = "192.0.2.1"
	second   = "2001:db8::1"
	loopback = "127.0.0.1"
)

// targets are the ports of a good node.
var targets = []v1alpha1.TLSTarget{
	{Address: loopback, Port: 10257, Component: v1alpha1.PostureControllerManager},
	{Address: loopback, Port: 10259, Component: v1alpha1.PostureScheduler},
	{Address: address, Port: 2379, Component: v1alpha1.PostureEtcd, Names: []string{address}},
	{Address: address, Port: 2380, Component: v1alpha1.PostureEtcdPeer, Names: []string{address}},
	{Address: address, Port: 6443, Component: v1alpha1.PostureAPIServer, Names: []string{address}},
	{Address: address, Port: 10250, Component: v1alpha1.PostureKubelet, Names: []string{address}},
}

// goodResult returns the result of an observer at a target of a good node.
func goodResult(t v1alpha1.TLSTarget) v1alpha1.TLSResult {
	r := v1alpha1.TLSResult{
		Address: t.Address, Port: t.Port, Outcome: v1alpha1.TLSOpen, Plaintext: v1alpha1.PlaintextNotAnswered,
		LowestVersion: "VersionTLS12", HighestVersion: "VersionTLS13", ClientCertificate: v1alpha1.ClientCertificateRequested,
		Certificates: []v1alpha1.Certificate{{Subject: "CN=server", NotBefore: at(-24 * time.Hour), NotAfter: at(300 * 24 * time.Hour)}},
		Issuer:       v1alpha1.IssuerClusterCA,
	}
	switch t.Component {
	case v1alpha1.PostureEtcd, v1alpha1.PostureEtcdPeer:
		r.ClientCertificate, r.Issuer = v1alpha1.ClientCertificateRequired, v1alpha1.IssuerOther
	case v1alpha1.PostureScheduler, v1alpha1.PostureControllerManager:
		r.Issuer = v1alpha1.IssuerOther
	}
	return r
}

func at(d time.Duration) *metav1.Time { return &metav1.Time{Time: now.Add(d)} }

// observed returns the results of an observer of the node cp-1 a minute ago, with changes.
func observed(name string, change ...func(*v1alpha1.TLSResult)) v1alpha1.TLSObservation {
	o := v1alpha1.TLSObservation{Name: name, Time: at(-time.Minute), ObservedGeneration: 1}
	for _, target := range targets {
		if posture.IsLoopback(target.Address) && name != "cp-1" {
			continue
		}
		result := goodResult(target)
		for _, c := range change {
			c(&result)
		}
		o.Results = append(o.Results, result)
	}
	return o
}

// input is the input for a policy with one good node, cp-1.
func input(observers ...v1alpha1.TLSObservation) posture.Input {
	return posture.Input{
		Declared: v1alpha1.TLSPosture{IntervalSeconds: 300},
		Plan:     plan.TLSPlan{Nodes: []plan.NodeTargets{{Node: "cp-1", Targets: targets}}},
		Postures: []v1alpha1.ControlPlaneNodePosture{{
			ObjectMeta: metav1.ObjectMeta{Generation: 1},
			Spec:       v1alpha1.ControlPlaneNodePostureSpec{Policy: "p", Node: "cp-1", IntervalSeconds: 300, Targets: targets},
			Status:     v1alpha1.ControlPlaneNodePostureStatus{Observers: observers},
		}},
		Now: now,
	}
}

// onPort changes the result for one port.
func onPort(port v1alpha1.PortNumber, change func(*v1alpha1.TLSResult)) func(*v1alpha1.TLSResult) {
	return func(r *v1alpha1.TLSResult) {
		if r.Port == port {
			change(r)
		}
	}
}

func TestGoodNodeIsCompliant(t *testing.T) {
	g := NewWithT(t)
	v := posture.JudgeTLS(input(observed("cp-1"), observed("operator")))
	g.Expect(v.Findings).To(BeEmpty())
	g.Expect(v.Status).To(Equal(metav1.ConditionTrue))
	g.Expect(v.Reason).To(Equal(v1alpha1.ReasonCompliant))
	g.Expect(v.Message).To(Equal("6 ports on 1 node: TLS is as declared"))
	g.Expect([]int{v.Ports, v.Probed}).To(Equal([]int{6, 6}))
	g.Expect(v.EarliestExpiry().Time).To(BeTemporally("==", now.Add(300*24*time.Hour)))
	g.Expect(v.Certificates).To(HaveLen(6))
	g.Expect(v.Next).To(BeTemporally("==", now.Add(5*time.Minute)))
}

func TestEachFaultMakesExactlyOneFinding(t *testing.T) {
	certificate := func(change func(*v1alpha1.Certificate)) func(*v1alpha1.TLSResult) {
		return func(r *v1alpha1.TLSResult) { change(&r.Certificates[0]) }
	}
	tests := map[string]struct {
		port     v1alpha1.PortNumber
		change   func(*v1alpha1.TLSResult)
		check    string
		severity v1alpha1.Severity
		message  string
	}{
		"etcd without client certificates": {
			2379, func(r *v1alpha1.TLSResult) { r.ClientCertificate = v1alpha1.ClientCertificateNotRequested },
			"tls-client-certificate", v1alpha1.SeverityCritical,
			"etcd on cp-1 (192.0.2.1:2379) does not demand client certificates: set --client-cert-auth=true and --trusted-ca-file of etcd",
		},
		"etcd that only asks": {
			2380, func(r *v1alpha1.TLSResult) { r.ClientCertificate = v1alpha1.ClientCertificateRequested },
			"tls-client-certificate", v1alpha1.SeverityCritical, "etcd-peer on cp-1",
		},
		"kubelet without client certificates": {
			10250, func(r *v1alpha1.TLSResult) { r.ClientCertificate = v1alpha1.ClientCertificateNotRequested },
			"tls-client-certificate", v1alpha1.SeverityCritical, "authentication.x509.clientCAFile",
		},
		"old version": {
			10250, func(r *v1alpha1.TLSResult) { r.LowestVersion = "VersionTLS11" },
			"tls-version", v1alpha1.SeverityHigh,
			"kubelet on cp-1 (192.0.2.1:10250) accepts TLS 1.1: set tlsMinVersion: VersionTLS12 in the configuration of the kubelet",
		},
		"weak cipher suite": {
			6443, func(r *v1alpha1.TLSResult) { r.WeakCipherSuites = []string{"TLS_RSA_WITH_3DES_EDE_CBC_SHA"} },
			"tls-cipher", v1alpha1.SeverityMedium, "accepts the weak cipher suites TLS_RSA_WITH_3DES_EDE_CBC_SHA",
		},
		"plaintext besides": {
			10257, func(r *v1alpha1.TLSResult) { r.Plaintext = v1alpha1.PlaintextAnswered },
			"tls-plaintext", v1alpha1.SeverityCritical, "kube-controller-manager on cp-1 (127.0.0.1:10257) answers without TLS",
		},
		"plaintext alone": {
			2379, func(r *v1alpha1.TLSResult) {
				*r = v1alpha1.TLSResult{Address: r.Address, Port: r.Port, Outcome: v1alpha1.TLSNotTLS, Plaintext: v1alpha1.PlaintextAnswered}
			}, "tls-plaintext", v1alpha1.SeverityCritical, "etcd on cp-1",
		},
		"expired": {
			6443, certificate(func(c *v1alpha1.Certificate) { c.NotAfter = at(0) }),
			"tls-certificate-expired", v1alpha1.SeverityCritical, `has a certificate that expired on 2026-01-02 ("CN=server"): renew it`,
		},
		"expires tomorrow": {
			2379, certificate(func(c *v1alpha1.Certificate) { c.NotAfter = at(24 * time.Hour) }),
			"tls-certificate-expiring", v1alpha1.SeverityMedium, "expires on 2026-01-03",
		},
		"expires in 30 days": {
			2379, certificate(func(c *v1alpha1.Certificate) { c.NotAfter = at(30 * 24 * time.Hour) }),
			"tls-certificate-expiring", v1alpha1.SeverityMedium, "expires on 2026-02-01",
		},
		"not valid yet": {
			6443, certificate(func(c *v1alpha1.Certificate) { c.NotBefore = at(time.Hour) }),
			"tls-certificate-expired", v1alpha1.SeverityCritical, "is not valid before 2026-01-02",
		},
		"another name": {
			6443, func(r *v1alpha1.TLSResult) { r.UncoveredNames = []string{address} },
			"tls-certificate-name", v1alpha1.SeverityHigh, "has a certificate that does not cover 192.0.2.1",
		},
		"another issuer": {
			6443, func(r *v1alpha1.TLSResult) { r.Issuer = v1alpha1.IssuerOther },
			"tls-certificate-issuer", v1alpha1.SeverityHigh, "kube-root-ca.crt",
		},
		"kubelet's own certificate": {
			10250, func(r *v1alpha1.TLSResult) { r.Issuer = v1alpha1.IssuerOther }, "tls-certificate-issuer", v1alpha1.SeverityLow, "kubelet on cp-1",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			in := input(observed("cp-1", onPort(test.port, test.change)), observed("cp-2", onPort(test.port, test.change)))
			v := posture.JudgeTLS(in)
			g.Expect(v.Findings).To(HaveLen(1), "one finding, whichever observers found it")
			g.Expect(v.Findings[0]).To(And(HaveField("Check", test.check), HaveField("Severity", test.severity), HaveField("Node", "cp-1"),
				HaveField("Message", ContainSubstring(test.message))))
			g.Expect(v.Probed).To(Equal(6))
			if posture.IsSevere(test.severity) {
				g.Expect(v.Status).To(Equal(metav1.ConditionFalse))
				g.Expect(v.Message).To(HavePrefix("1 finding: " + v.Findings[0].Message))
			} else {
				g.Expect(v.Status).To(Equal(metav1.ConditionTrue))
				g.Expect(v.Message).To(HaveSuffix("; 1 finding of low severity in status.posture.findings"))
			}
		})
	}
}

func TestOneObserverWhoFindsAFaultIsEnough(t *testing.T) {
	g := NewWithT(t)
	old := onPort(6443, func(r *v1alpha1.TLSResult) { r.LowestVersion = "VersionTLS10" })
	v := posture.JudgeTLS(input(observed("cp-1"), observed("cp-2", old), observed("operator")))
	g.Expect(v.Findings).To(HaveExactElements(HaveField("Check", "tls-version")))
	g.Expect(v.Status).To(Equal(metav1.ConditionFalse))
}

func TestMinimumIsTheDeclaredOne(t *testing.T) {
	g := NewWithT(t)
	in := input(observed("cp-1"))
	in.Declared.MinVersion = v1alpha1.VersionTLS13
	v := posture.JudgeTLS(in)
	g.Expect(v.Findings).To(HaveLen(6))
	g.Expect(v.Findings[0].Message).To(ContainSubstring("accepts TLS 1.2: set --tls-min-version=TLS1.3 of etcd"))
}

func TestWarningIsTheDeclaredOne(t *testing.T) {
	g := NewWithT(t)
	in := input(observed("cp-1"))
	in.Declared.ExpiryWarningDays = ptr.To[int32](300)
	g.Expect(posture.JudgeTLS(in).Findings).To(HaveLen(6))
	in.Declared.ExpiryWarningDays = ptr.To[int32](299)
	g.Expect(posture.JudgeTLS(in).Findings).To(BeEmpty())
	in.Declared.ExpiryWarningDays = ptr.To[int32](0)
	g.Expect(posture.JudgeTLS(in).Findings).To(BeEmpty())
}

func TestNextJudgementIsWhenACertificateNeedsAWarning(t *testing.T) {
	g := NewWithT(t)
	soon := onPort(2379, func(r *v1alpha1.TLSResult) { r.Certificates[0].NotAfter = at(30*24*time.Hour + time.Minute) })
	g.Expect(posture.JudgeTLS(input(observed("cp-1", soon))).Next).To(BeTemporally("==", now.Add(time.Minute)))
	sooner := onPort(2379, func(r *v1alpha1.TLSResult) { r.Certificates[0].NotAfter = at(2 * time.Minute) })
	g.Expect(posture.JudgeTLS(input(observed("cp-1", sooner))).Next).To(BeTemporally("==", now.Add(2*time.Minute)))
}

func TestMissingFactsAreUnknown(t *testing.T) {
	refused := func(r *v1alpha1.TLSResult) {
		*r = v1alpha1.TLSResult{Address: r.Address, Port: r.Port, Outcome: v1alpha1.TLSRefused}
	}
	stale := observed("cp-1")
	stale.Time = at(-17 * time.Minute)
	future := observed("cp-1")
	future.Time = at(6 * time.Minute)
	timeless := observed("cp-1")
	timeless.Time = nil
	tests := map[string]struct {
		observers []v1alpha1.TLSObservation
		probed    int
		message   string
	}{
		"no observer has results":                {nil, 0, "Not everything could be judged: etcd on cp-1, port 2379, has not been probed lately"},
		"results that are too old":               {[]v1alpha1.TLSObservation{stale}, 0, "has not been probed lately"},
		"results of a clock far ahead":           {[]v1alpha1.TLSObservation{future}, 0, "has not been probed lately"},
		"results without a time":                 {[]v1alpha1.TLSObservation{timeless}, 0, "has not been probed lately"},
		"results of the operator alone":          {[]v1alpha1.TLSObservation{observed("operator")}, 4, "Not everything could be judged: kube-controller-manager, kube-scheduler answer on loopback only"},
		"a port without a listener":              {[]v1alpha1.TLSObservation{observed("cp-1", onPort(2379, refused)), observed("cp-2", onPort(2379, refused))}, 5, "Not everything could be judged: etcd on cp-1, port 2379, was not reached: Refused from cp-1, Refused from cp-2"},
		"an unknown issuer":                      {[]v1alpha1.TLSObservation{observed("cp-1", onPort(6443, func(r *v1alpha1.TLSResult) { r.Issuer = "" }))}, 5, "did not show who issued its certificate"},
		"an unknown certificate":                 {[]v1alpha1.TLSObservation{observed("cp-1", onPort(2379, func(r *v1alpha1.TLSResult) { r.Certificates = nil }))}, 5, "did not show which certificate it has"},
		"an unknown version":                     {[]v1alpha1.TLSObservation{observed("cp-1", onPort(2379, func(r *v1alpha1.TLSResult) { r.LowestVersion = "" }))}, 5, "did not show which versions of TLS it accepts"},
		"an unknown older version":               {[]v1alpha1.TLSObservation{observed("cp-1", onPort(2379, func(r *v1alpha1.TLSResult) { r.Unclear = []string{"VersionTLS11"} }))}, 5, "did not show whether it accepts TLS 1.1"},
		"unknown cipher suites":                  {[]v1alpha1.TLSObservation{observed("cp-1", onPort(2379, func(r *v1alpha1.TLSResult) { r.Unclear = []string{"WeakCipherSuites"} }))}, 5, "did not show which weak cipher suites it accepts"},
		"unknown demand for client certificates": {[]v1alpha1.TLSObservation{observed("cp-1", onPort(2379, func(r *v1alpha1.TLSResult) { r.ClientCertificate = "" }))}, 5, "did not show whether it demands client certificates"},
		"plaintext":                              {[]v1alpha1.TLSObservation{observed("cp-1", onPort(2379, func(r *v1alpha1.TLSResult) { r.Plaintext = "" }))}, 5, "did not show whether it answers without TLS"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			v := posture.JudgeTLS(input(test.observers...))
			g.Expect(v.Status).To(Equal(metav1.ConditionUnknown))
			g.Expect(v.Reason).To(Equal(v1alpha1.ReasonNotProbed))
			g.Expect(v.Message).To(ContainSubstring(test.message))
			g.Expect([]int{v.Ports, v.Probed}).To(Equal([]int{6, test.probed}))
			g.Expect(v.Findings).To(BeEmpty())
		})
	}
}

func TestOtherObserversDoNotCountForLoopback(t *testing.T) {
	g := NewWithT(t)
	liar := observed("cp-2")
	liar.Results = append(liar.Results, goodResult(targets[0]), goodResult(targets[1]))
	v := posture.JudgeTLS(input(liar))
	g.Expect(v.Status).To(Equal(metav1.ConditionUnknown))
	g.Expect(v.Probed).To(Equal(4))
}

func TestResultsWithoutATargetDoNotCount(t *testing.T) {
	g := NewWithT(t)
	liar := observed("cp-1")
	liar.Results = append(liar.Results, v1alpha1.TLSResult{Address: "198.51.100.1", Port: 80, Outcome: v1alpha1.TLSNotTLS, Plaintext: v1alpha1.PlaintextAnswered})
	g.Expect(posture.JudgeTLS(input(liar)).Status).To(Equal(metav1.ConditionTrue))
}

func TestOneAddressOfANodeIsEnough(t *testing.T) {
	g := NewWithT(t)
	in := input()
	in.Plan.Nodes[0].Targets = []v1alpha1.TLSTarget{
		{Address: address, Port: 2379, Component: v1alpha1.PostureEtcd}, {Address: second, Port: 2379, Component: v1alpha1.PostureEtcd},
	}
	in.Postures[0].Status.Observers = []v1alpha1.TLSObservation{{Name: "cp-2", Time: at(0), ObservedGeneration: 1, Results: []v1alpha1.TLSResult{
		goodResult(in.Plan.Nodes[0].Targets[0]), {Address: second, Port: 2379, Outcome: v1alpha1.TLSRefused},
	}}}
	v := posture.JudgeTLS(in)
	g.Expect(v.Status).To(Equal(metav1.ConditionTrue))
	g.Expect(v.Ports).To(Equal(1))
}

func TestObstaclesAndMissingNodesAreUnknown(t *testing.T) {
	g := NewWithT(t)
	in := input(observed("cp-1"))
	in.Plan = plan.TLSPlan{Obstacle: &backend.Obstacle{Reason: v1alpha1.ReasonProfileUnknown, Message: "which?"}}
	v := posture.JudgeTLS(in)
	g.Expect([]any{v.Status, v.Reason, v.Message}).To(Equal([]any{metav1.ConditionUnknown, "ProfileUnknown", "which?"}))
	in.Plan = plan.TLSPlan{}
	g.Expect(posture.JudgeTLS(in).Message).To(Equal("spec.nodeSelector selects no node"))
	in = input(observed("cp-1"))
	in.Plan.Silent = []string{"cp-9"}
	v = posture.JudgeTLS(in)
	g.Expect(v.Status).To(Equal(metav1.ConditionUnknown))
	g.Expect(v.Message).To(ContainSubstring("node cp-9 shows no internal address"))
}

func TestAnAnsweringAddressMustBeJudged(t *testing.T) {
	g := NewWithT(t)
	in := input()
	in.Plan.Nodes[0].Targets = []v1alpha1.TLSTarget{
		{Address: address, Port: 2379, Component: v1alpha1.PostureEtcd}, {Address: second, Port: 2379, Component: v1alpha1.PostureEtcd},
	}
	unclear := goodResult(in.Plan.Nodes[0].Targets[1])
	unclear.ClientCertificate = ""
	in.Postures[0].Status.Observers = []v1alpha1.TLSObservation{{Name: "cp-2", Time: at(0), ObservedGeneration: 1, Results: []v1alpha1.TLSResult{
		goodResult(in.Plan.Nodes[0].Targets[0]), unclear,
	}}}
	v := posture.JudgeTLS(in)
	g.Expect(v.Status).To(Equal(metav1.ConditionUnknown))
	g.Expect(v.Message).To(ContainSubstring("did not show whether it demands client certificates"))
}

func TestNothingToProbeIsUnknown(t *testing.T) {
	g := NewWithT(t)
	in := input(observed("cp-1"))
	in.Plan.Nodes[0].Targets = nil
	v := posture.JudgeTLS(in)
	g.Expect(v.Status).To(Equal(metav1.ConditionUnknown))
	g.Expect(v.Message).To(ContainSubstring("the selected nodes have no port of a component"))
	in = input(observed("cp-1"))
	in.Plan.Nodes[0].Targets = targets[2:3]
	in.Declared.Components = []v1alpha1.PostureComponent{v1alpha1.PostureEtcd, v1alpha1.PostureEtcdPeer}
	v = posture.JudgeTLS(in)
	g.Expect(v.Status).To(Equal(metav1.ConditionUnknown))
	g.Expect(v.Message).To(ContainSubstring("no selected node has a port of etcd-peer"))
}

func TestAdditionalPortMayBeClosed(t *testing.T) {
	g := NewWithT(t)
	extra := v1alpha1.TLSTarget{Address: address, Port: 10255, Component: v1alpha1.PostureKubelet}
	judged := func(outcome v1alpha1.TLSOutcome, change func(*posture.Input)) posture.Verdict {
		o := observed("cp-1")
		o.Results = append(o.Results, v1alpha1.TLSResult{Address: address, Port: 10255, Outcome: outcome})
		in := input(o)
		in.Plan.Nodes[0].Targets = append(append([]v1alpha1.TLSTarget{}, targets...), extra)
		in.Declared.AdditionalPorts = []v1alpha1.AdditionalPort{{Port: 10255, Component: v1alpha1.PostureKubelet}}
		change(&in)
		return posture.JudgeTLS(in)
	}
	same := func(*posture.Input) {}
	g.Expect(judged(v1alpha1.TLSRefused, same).Status).To(Equal(metav1.ConditionTrue))
	g.Expect(judged(v1alpha1.TLSDropped, same).Status).To(Equal(metav1.ConditionTrue))
	g.Expect(judged(v1alpha1.TLSSilent, same).Status).To(Equal(metav1.ConditionUnknown), "the port has a listener")
	g.Expect(judged(v1alpha1.TLSNotFinished, same).Status).To(Equal(metav1.ConditionUnknown))
	g.Expect(judged(v1alpha1.TLSRefused, func(in *posture.Input) { in.Declared.AdditionalPorts = nil }).Status).
		To(Equal(metav1.ConditionUnknown), "a port of the profile should answer")
	g.Expect(judged(v1alpha1.TLSRefused, func(in *posture.Input) { in.Postures[0].Status.Observers = nil }).Status).
		To(Equal(metav1.ConditionUnknown), "nobody has looked")
}

func TestResultsOfOtherTargetsDoNotCount(t *testing.T) {
	g := NewWithT(t)
	in := input(observed("cp-1"))
	in.Postures[0].Generation = 2
	g.Expect(posture.JudgeTLS(in).Status).To(Equal(metav1.ConditionUnknown))
}

func TestANodeNamedOperatorIsNotTheOperator(t *testing.T) {
	g := NewWithT(t)
	in := input(observed("cp-1"))
	in.Plan.Nodes[0].Node, in.Postures[0].Spec.Node = v1alpha1.ObserverOperator, v1alpha1.ObserverOperator
	in.Postures[0].Status.Observers[0].Name = v1alpha1.ObserverOperator
	g.Expect(posture.JudgeTLS(in).Probed).To(Equal(4), "all targets but those on loopback")
}

func TestTooManyObserversAreReported(t *testing.T) {
	g := NewWithT(t)
	var crowd []v1alpha1.TLSObservation
	for i := range v1alpha1.MaxObservers {
		crowd = append(crowd, observed(string(rune('a'+i))))
	}
	g.Expect(posture.JudgeTLS(input(crowd...)).Message).To(ContainSubstring("found no place among the observers: run probe pods on fewer nodes"))
}

func TestVerdictIsRenewedWhenResultsGetTooOld(t *testing.T) {
	g := NewWithT(t)
	old := observed("cp-1")
	old.Time = at(-15 * time.Minute)
	v := posture.JudgeTLS(input(old))
	g.Expect(v.Status).To(Equal(metav1.ConditionTrue))
	g.Expect(v.Next).To(BeTemporally("==", now.Add(time.Minute+time.Second)), "three rounds and the time of one")
	in := input(old)
	in.Now = v.Next
	g.Expect(posture.JudgeTLS(in).Status).To(Equal(metav1.ConditionUnknown))
}
