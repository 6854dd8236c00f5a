// SPDX-License-Identifier: Apache-2.0

package judge_test

import (
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/judge"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/verify"
)

func felixWith(name string, edit func(*v3.FelixConfigurationSpec)) v3.FelixConfiguration {
	f := v3.FelixConfiguration{ObjectMeta: named(name)}
	edit(&f.Spec)
	return f
}

func ebpf(on bool) func(*v3.FelixConfigurationSpec) {
	return func(s *v3.FelixConfigurationSpec) { s.BPFEnabled = &on }
}

// setBy records the managers of the fields of a configuration.
func setBy(f v3.FelixConfiguration, fields string) v3.FelixConfiguration {
	f.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl", FieldsV1: metav1.NewFieldsV1(fields)}}
	return f
}

func TestUnjudgedConfigurationsAreReportedOnceAndHeld(t *testing.T) {
	const notSupported, notJudged = v1alpha1.ReasonNotJudged, v1alpha1.ReasonNotJudged
	tcpp := felixWith("default", func(s *v3.FelixConfigurationSpec) {
		s.FailsafeInboundHostPorts = &[]v3.ProtoPort{{Protocol: "tcpp", Port: 22}}
	})
	for name, test := range map[string]struct {
		felix        []v3.FelixConfiguration
		reason, says string
	}{
		"an empty configuration":                                 {},
		"eBPF is off":                                            {felix: []v3.FelixConfiguration{felixWith("default", ebpf(false))}},
		"eBPF everywhere":                                        {felix: []v3.FelixConfiguration{felixWith("default", ebpf(true))}, reason: notSupported, says: "FelixConfiguration default), on cp-1, cp-2"},
		"eBPF on one protected node":                             {felix: []v3.FelixConfiguration{felixWith("node.cp-2", ebpf(true))}, reason: notSupported, says: "FelixConfiguration node.cp-2), on cp-2"},
		"eBPF on an unprotected node":                            {felix: []v3.FelixConfiguration{felixWith("node.worker-1", ebpf(true))}},
		"eBPF except on protected nodes":                         {felix: []v3.FelixConfiguration{felixWith("default", ebpf(true)), felixWith("node.cp-1", ebpf(false)), felixWith("node.cp-2", ebpf(false))}},
		"eBPF except on one protected node":                      {felix: []v3.FelixConfiguration{felixWith("default", ebpf(true)), felixWith("node.cp-1", ebpf(false))}, reason: notSupported, says: "on cp-2"},
		"eBPF by a selector of nodes":                            {felix: []v3.FelixConfiguration{felixWith("masters", ebpf(true))}, reason: notSupported, says: "may use its eBPF dataplane (bpfEnabled of FelixConfiguration masters"},
		"a configuration by selector where the field is set":     {felix: []v3.FelixConfiguration{setBy(felixWith("masters", ebpf(true)), `{"f:spec":{"f:bpfEnabled":{},"f:nodeSelector":{}}}`)}, reason: notSupported, says: "masters"},
		"a configuration by selector where the field is not set": {felix: []v3.FelixConfiguration{setBy(felixWith("masters", ebpf(true)), `{"f:spec":{"f:bpfEnabled":{}}}`)}},
		"a configuration by selector with other fields":          {felix: []v3.FelixConfiguration{felixWith("masters", func(s *v3.FelixConfigurationSpec) { s.IPv6Support = ptr.To(false) })}, reason: notJudged, says: "FelixConfiguration masters may apply to the node"},
		"irrelevant fields":                                      {felix: []v3.FelixConfiguration{felixWith("masters", func(s *v3.FelixConfigurationSpec) { s.LogSeverityScreen = "Debug" })}},
		"rules that Felix cannot write":                          {felix: []v3.FelixConfiguration{tcpp}, reason: notJudged, says: "a failsafe port of FelixConfiguration default has the protocol tcpp"},
		"the worst of several":                                   {felix: []v3.FelixConfiguration{tcpp, felixWith("node.cp-2", ebpf(true))}, reason: notSupported, says: "node.cp-2"},
	} {
		t.Run(name, func(t *testing.T) {
			g, hosts := NewWithT(t), plan.Hosts{Declared: true, Whole: kubelet()}
			there := calico.Live{Felix: test.felix}
			reason, why := judge.WhyUnjudged(hosts, there)
			g.Expect(reason).To(Equal(test.reason))
			g.Expect(why).To(ContainSubstring(test.says))
			got := situation{hosts: kubelet(), there: there}.judge(t)
			if reason == "" {
				g.Expect(why).To(BeEmpty())
				g.Expect(got).To(Equal(effective))
				return
			}
			g.Expect(got.Unknown).To(BeTrue())
			g.Expect(got.Holds).To(BeFalse())
			g.Expect(got.Reason).To(Equal(test.reason))
			g.Expect(got.Message).To(And(ContainSubstring(test.says), Not(ContainSubstring("also found"))))

			held := verify.UnjudgedWritable(reason, why, " ")
			g.Expect(held.Holds).To(BeFalse())
			g.Expect(held.Reason).To(Equal(test.reason))
			g.Expect(held.Message).To(And(ContainSubstring("Nothing is written"), ContainSubstring(v1alpha1.AnnotationAllowLockout), Not(ContainSubstring("cut"))))
			written := verify.UnjudgedWritable(reason, why, "tried by hand")
			g.Expect(written.Holds).To(BeTrue())
			g.Expect(written.Reason).To(Equal(v1alpha1.ReasonOverridden))
			g.Expect(written.Message).To(And(ContainSubstring(why), ContainSubstring("Nothing is verified"), ContainSubstring(`"tried by hand"`), Not(ContainSubstring("not needed"))))
		})
	}
}

// An uncertain finding is not reported as certain.
func TestUncertainFindingsAreUnknown(t *testing.T) {
	g := NewWithT(t)
	first := tier("first", 1)
	unread := policyIn("first", v3.Deny)
	unread.Spec.Selector = "has("
	there := calico.Live{Tiers: []v3.Tier{first}, Policies: []v3.GlobalNetworkPolicy{unread}}
	got := situation{hosts: kubelet(), there: there}.judge(t)
	g.Expect(got.Unknown).To(BeTrue())
	g.Expect(got.Holds).To(BeFalse())
	g.Expect(got.Reason).To(Equal(v1alpha1.ReasonForeignPolicy))

	t.Log("the certain finding takes precedence, and is False")
	sure := situation{hosts: kubelet(etcd), there: there}.judge(t)
	g.Expect(sure.Unknown).To(BeFalse())
	g.Expect(sure.Reason).To(Equal(v1alpha1.ReasonFailsafePorts))
	g.Expect(sure.Message).To(HaveSuffix("also found: ForeignPolicy"))
}
