// SPDX-License-Identifier: Apache-2.0

package modes

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
)

// TestAggregated is the stories of a Calico with an API server of its own.
func TestAggregated(t *testing.T) {
	s := begin(t)
	install(t, calico.Aggregated)
	t.Run("at rest", atRest)
	t.Run("added to sets", addedToSets)
	t.Run("unavailable", unavailableForGood)
	t.Run("back in time", backInTime)
	t.Run("shared tier", sharedTier)
	t.Run("rights", func(t *testing.T) { s.in(t).rightsAreUsed() })
}

// atRest: with everything in place nothing is asked, whatever others do with
// objects of their own, and nothing of it is looked at more often than it
// changes. An operator that starts anew finds everything in place, and says
// nothing else meanwhile.
func atRest(t *testing.T) {
	s := begin(t)
	node := s.nodes()[0]
	stop := s.operator()
	s.create(s.policy())
	s.says(s.name, programmed)
	s.quiet()

	const (
		changes = 20
		looks   = int(2 * soon / (250 * time.Millisecond)) // controllers.lookInterval: a report that waits for its turn
	)
	endpoint := &v3.HostEndpoint{ObjectMeta: named("foreign")}
	endpoint.Spec.Node, endpoint.Spec.InterfaceName = node, "eth7"
	set := &v3.GlobalNetworkSet{ObjectMeta: named("foreign")}
	s.create(endpoint, set)
	s.quiet()
	mark, looked := s.mark(), reconciliations()
	ticker := time.NewTicker(soon / changes)
	defer ticker.Stop()
	for i := range changes {
		<-ticker.C
		s.patch(endpoint, fmt.Sprintf(`{"metadata":{"labels":{"number":"%d"}}}`, i))
		s.patch(set, fmt.Sprintf(`{"spec":{"nets":["192.0.2.%d/32"]}}`, i))
	}
	s.Consistently(func() []string { return s.asked(mark, requests) }, moment).Should(BeEmpty())
	s.Expect(reconciliations() - looked).To(BeNumerically("<=", 2*changes+looks))
	s.delete(endpoint)
	s.delete(set)
	s.says(s.name, "Effective=True/AsDeclared")
	s.quiet() // a late write of the stopped operator would count as the next one's

	stop()
	mark = s.mark()
	s.operatorAs(slowly(operatorConfig))
	s.Eventually(func() []string { return s.asked(mark, requests) }).ShouldNot(BeEmpty())
	s.quiet()
	s.Expect(s.asked(mark, testbed.AuditEvent.Mutating)).To(BeEmpty(), "a start is no news")

	s.remove(s.name)
}

// slowly is a connection over which Calico takes its time to tell what there is.
func slowly(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return slow{next}
	})
	return config
}

type slow struct{ next http.RoundTripper }

func (s slow) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/projectcalico.org/") {
		select {
		case <-time.After(moment / 2):
		case <-r.Context().Done():
		}
	}
	return s.next.RoundTrip(r)
}

// unavailableForGood: a policy that is deleted while Calico does not answer
// waits for it for a minute, and then leaves what it wrote, which is told. A
// policy of the same name finds it again.
func unavailableForGood(t *testing.T) {
	s := begin(t)
	before := s.inventory()
	s.programmedThenUnavailable()
	s.delete(s.get(s.name))
	s.waitsForCalico()
	s.clock.Passes(time.Minute)
	s.gone(s.name)
	s.Eventually(s.events(s.name)).Should(ContainElement("Orphaned"))

	s.reach(here)
	s.Eventually(s.inventory).Should(ContainElements(s.whole(s.name)))
	s.create(s.policy())
	s.says(s.name, programmed)
	s.remove(s.name)
	s.Expect(s.inventory()).To(Equal(before))
}

// backInTime: where it answers again within that minute, everything is taken
// back, also by an operator that started meanwhile.
func backInTime(t *testing.T) {
	s := begin(t)
	before := s.inventory()
	stop := s.programmedThenUnavailable()
	s.delete(s.get(s.name))
	s.waitsForCalico()
	stop()
	s.operator()
	s.reach(here)
	s.gone(s.name)
	s.Expect(s.inventory()).To(Equal(before))
	s.Expect(s.events(s.name)()).NotTo(ContainElement("Orphaned"))
}

// programmedThenUnavailable is a policy that is in place, when Calico's API
// server can not be reached any more.
func (s *story) programmedThenUnavailable() (stop func()) {
	s.t.Helper()
	nodes := s.nodes()
	stop = s.operator()
	s.create(s.policy())
	s.says(s.name, programmed)
	s.Expect(s.inventory()).To(ContainElements(s.whole(s.name, nodes...)))
	s.reach(nowhere)
	s.t.Cleanup(func() { s.reach(here) })
	s.unprotected(s.name, "CalicoUnavailable", "the API of Calico does not answer", nowhere)
	return stop
}

// waitsForCalico: everything else has been taken back, and the policy stays.
func (s *story) waitsForCalico() {
	s.t.Helper()
	s.Eventually(s.message(s.name, v1alpha1.ConditionReady)).Should(Equal(
		"The policy is being deleted; left to restore: objects of Calico, which does not answer now"))
	s.Eventually(s.rest).Should(BeEmpty())
	s.Consistently(func() []string { return s.get(s.name).Finalizers }, 3*moment).ShouldNot(BeEmpty())
}

// sharedTier: the tier is all policies'. It stays until the last one goes, also
// where several go at once, and where somebody else has put a policy into it.
func sharedTier(t *testing.T) {
	s := begin(t)
	before := s.inventory()
	nodes := map[string][]string{}
	part := func(name string, offset int) *v1alpha1.ControlPlaneNetworkPolicy {
		for i := range members {
			nodes[name] = append(nodes[name], s.join(offset+i, testbed.ControlPlaneNode(), testbed.NodeLabels(map[string]string{"part": name})))
		}
		policy := s.policy()
		policy.Name = s.name + "-" + name
		policy.Spec.Network.Components = policy.Spec.Network.Components[:2] // pods can not be had by both
		policy.Spec.NodeSelector.MatchLabels["part"] = v1alpha1.LabelValue(name)
		return policy
	}
	first, second := part("a", 1), part("b", 1+members)
	s.operator()
	create := func() {
		s.create(first.DeepCopy(), second.DeepCopy())
		s.says(first.Name, programmed)
		s.says(second.Name, programmed)
		s.Expect(s.inventory()).To(ContainElements(s.whole(first.Name, nodes["a"]...)))
		s.Expect(s.inventory()).To(ContainElements(s.whole(second.Name, nodes["b"]...)))
	}
	t.Log("one goes, and the other stays as it is")
	create()
	s.quiet()
	looked := s.get(second.Name).Status
	mark := s.mark()
	s.remove(first.Name)
	s.Expect(s.asked(mark, func(e testbed.AuditEvent) bool { return toCalico(e) && e.Resource == "tiers" })).To(BeEmpty())
	s.says(second.Name, programmed)
	s.Expect(s.get(second.Name).Status.LastDriftTime).To(Equal(looked.LastDriftTime))
	s.remove(second.Name)
	s.Expect(s.inventory()).To(Equal(before))

	t.Log("both go at once")
	create()
	s.delete(s.get(first.Name))
	s.delete(s.get(second.Name))
	s.gone(first.Name)
	s.gone(second.Name)
	s.Expect(s.inventory()).To(Equal(before))

	t.Log("somebody else uses it")
	s.create(first.DeepCopy())
	s.says(first.Name, programmed)
	foreign := &v3.GlobalNetworkPolicy{ObjectMeta: named("cpnp.foreign")}
	foreign.Spec.Tier = "cpnp"
	s.create(foreign)
	s.remove(first.Name)
	s.Expect(s.inventory()).To(Equal(slices.Sorted(slices.Values(append(before, "Tier/cpnp", "GlobalNetworkPolicy/cpnp.foreign")))))
	s.delete(foreign)
	s.delete(&v3.Tier{ObjectMeta: named("cpnp")})
}

// rightsAreUsed: of the rights that are shipped to protect hosts, all are used that
// can be seen. Those to tier.globalnetworkpolicies, and to get tiers, are asked for
// by Calico's API server, in reviews of its own.
func (s *story) rightsAreUsed() {
	const migrations = "../calicowatch/testdata/datastoremigrations.yaml"
	s.operator()
	_, err := envtest.InstallCRDs(cluster.Config, envtest.CRDInstallOptions{Paths: []string{migrations}, ErrorIfPathMissing: true})
	s.Expect(err).NotTo(HaveOccurred())
	shipped, err := testbed.Rights(roleFile)
	s.Expect(err).NotTo(HaveOccurred())
	shipped = slices.DeleteFunc(shipped, func(right string) bool { return !forHosts(right) || indirect(right) })
	s.Expect(shipped).NotTo(BeEmpty())
	s.Eventually(func() []string {
		logged, err := cluster.Audit().Since(s.began)
		s.Expect(err).NotTo(HaveOccurred())
		return slices.DeleteFunc(testbed.RightsUsed(logged, operatorUser), func(right string) bool { return !forHosts(right) })
	}).Should(ConsistOf(shipped))
}
