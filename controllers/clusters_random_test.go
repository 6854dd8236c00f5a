// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/verify"
	"github.com/cpnp-dev/cpnp-operator/internal/verify/dataplane"
)

var clusterSeed = flag.Uint64("cluster-seed", 1, "of the first random cluster; 0 takes random ones")

const randomClusters = 400

// TestWhatIsVerifiedCutsNothingInRandomClusters makes clusters whose machines are known
// and of which Kubernetes shows only a part: addresses that are shared or missing, API
// servers on a network of their own that come and go, labels that are lost, load
// balancers, kubelets on other ports, pods on the nodes' network. Whenever a policy is
// verified, every required connection is let in by the data-plane model once all is
// written, and those that are tried of the restricted ones are not.
func TestWhatIsVerifiedCutsNothingInRandomClusters(t *testing.T) {
	verified := 0
	for i := range uint64(randomClusters) {
		seed := *clusterSeed + i
		if *clusterSeed == 0 {
			seed = rand.Uint64()
		}
		if tryRandomCluster(t, seed) {
			verified++
		}
	}
	t.Logf("%d of %d clusters were verified", verified, randomClusters)
	if verified < randomClusters/5 || verified > randomClusters*9/10 {
		t.Errorf("%d of %d clusters were verified: too few, or too many, for the test to tell anything", verified, randomClusters)
	}
}

// machine is a node as it is.
type machine struct {
	name         string
	controlPlane bool
	labelled     bool
	// registered is what its kubelet shows, advertised where its API server is; they
	// may be the same.
	registered, advertised netip.Addr
	running                bool // its API server
	kubelet                uint16
}

// reality is a cluster as it is.
type reality struct {
	*rand.Rand
	machines []machine
	nat      bool // all show 10.0.2.15 as well, or, with natOnly, nothing else
	natOnly  bool
	balancer netip.Addr // connects in place of its clients, if valid
	virtual  netip.Addr // held by the first machine, if valid
	shown    bool       // how members reach the API servers
	podsFlat bool       // pods have addresses of the nodes' network
	deny     bool       // what is not listed
}

var natAddress = netip.MustParseAddr("10.0.2.15")

func makeReality(seed uint64) *reality {
	r := &reality{Rand: rand.New(rand.NewPCG(seed, 14))}
	separate := r.IntN(2) == 0
	count := 1 + r.IntN(4)
	// Which node an API server on a network of its own is on, only the label tells.
	lost := r.IntN(count + 2)
	if separate {
		lost = count
	}
	for i := range count + r.IntN(4) {
		m := machine{
			name: fmt.Sprintf("m-%d", i), controlPlane: i < count, labelled: i < count && (i != lost || count == 1),
			registered: netip.AddrFrom4([4]byte{10, 4, 0, byte(10 + i)}), running: i < count && r.IntN(4) > 0, kubelet: 10250,
		}
		m.advertised = m.registered
		if m.controlPlane && separate {
			m.advertised = netip.AddrFrom4([4]byte{10, 30, 0, byte(10 + i)})
		}
		if r.IntN(5) == 0 {
			m.kubelet = 10350
		}
		r.machines = append(r.machines, m)
	}
	r.machines[0].running = true
	several := len(r.machines) > 1 // what only one shows is its own
	r.nat, r.natOnly = several && r.IntN(4) == 0, several && r.IntN(20) == 0
	switch r.IntN(4) {
	case 0:
		r.balancer = netip.MustParseAddr("10.4.9.5")
	case 1:
		r.virtual = netip.MustParseAddr("10.4.0.100")
	}
	r.shown, r.podsFlat, r.deny = r.IntN(3) > 0, r.IntN(5) == 0, r.IntN(2) == 0
	return r
}

// objects are what Kubernetes shows.
func (r *reality) cluster() *cluster {
	c := &cluster{policy: "p", calico: state.Calico{Mode: state.CalicoAggregated, Felix: []v3.FelixConfiguration{{ObjectMeta: metav1.ObjectMeta{Name: "default"}}}}}
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "default", Name: "kubernetes", Labels: map[string]string{discoveryv1.LabelServiceName: "kubernetes"}},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Port: ptr.To[int32](6443)}},
	}
	for _, m := range r.machines {
		c.objects = append(c.objects, r.node(m))
		if m.running {
			slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{m.advertised.String()}})
		}
	}
	kubeadm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "kubeadm-config"}}
	if r.shown {
		endpoint := r.machines[0].advertised
		switch {
		case r.balancer.IsValid():
			endpoint = netip.MustParseAddr("10.4.9.100")
		case r.virtual.IsValid():
			endpoint = r.virtual
		}
		kubeadm.Data = map[string]string{"ClusterConfiguration": fmt.Sprintf("controlPlaneEndpoint: %s:6443\n", endpoint)}
	}
	daemonSet := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: "calico-system", Name: "calico-node"}}
	c.objects = append(c.objects, slice, kubeadm, daemonSet)
	if r.podsFlat {
		c.objects = append(c.objects, &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "aws-node"}})
	} else {
		c.calico.Pools = []v3.IPPool{{ObjectMeta: metav1.ObjectMeta{Name: "pods"}, Spec: v3.IPPoolSpec{CIDR: "172.16.0.0/16"}}}
	}
	c.objects = append(c.objects, r.policy())
	return c
}

func (r *reality) node(m machine) *corev1.Node {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: m.name, Labels: map[string]string{}}}
	if m.labelled {
		node.Labels["node-role.kubernetes.io/control-plane"] = ""
	}
	show := func(a netip.Addr) {
		node.Status.Addresses = append(node.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: a.String()})
	}
	if r.nat || r.natOnly {
		show(natAddress)
	}
	if !r.natOnly {
		show(m.registered)
	}
	node.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(m.kubelet)
	node.Status.NodeInfo.KubeletVersion = "v1.35.2"
	return node
}

// policy restricts everything that is known of the control plane. Whoever wrote it
// knows of the load balancer, or says nothing.
func (r *reality) policy() *v1alpha1.ControlPlaneNetworkPolicy {
	controlPlane := []v1alpha1.PeerReference{{Role: v1alpha1.RoleControlPlane}}
	p := &v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p", Generation: 1, Finalizers: []string{v1alpha1.Finalizer}}}
	p.Spec = v1alpha1.ControlPlaneNetworkPolicySpec{
		Mode: v1alpha1.ModeEnforce, Rollout: &v1alpha1.Rollout{},
		NodeSelector: v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"node-role.kubernetes.io/control-plane": ""}},
		Network: &v1alpha1.NetworkSpec{
			HostBackend: v1alpha1.HostBackendAuto, Failsafe: v1alpha1.FailsafeScope, Unlisted: v1alpha1.UnlistedPass,
			Peers:      []v1alpha1.Peer{{Name: "admins", Role: v1alpha1.ExternalAdmin, CIDRs: []v1alpha1.CIDR{"10.9.0.0/16"}}},
			Components: []v1alpha1.Component{{Name: "apiServer", AllowFrom: []v1alpha1.PeerReference{{Peer: "admins"}}}, {Name: "etcd", AllowFrom: controlPlane}, {Name: "kubelet"}},
		},
	}
	if r.deny {
		p.Spec.Network.Unlisted = v1alpha1.UnlistedDeny
	}
	if r.IntN(3) > 0 {
		if r.balancer.IsValid() {
			p.Spec.Network.Peers = append(p.Spec.Network.Peers, peerAt("proxies", v1alpha1.ExternalLoadBalancer, "10.4.9.5/32"))
		} else {
			p.Spec.Profile.LoadBalancer = v1alpha1.LoadBalancerNone
		}
	}
	if r.podsFlat && r.IntN(2) == 0 {
		p.Spec.Network.Peers = append(p.Spec.Network.Peers, peerAt("pods", v1alpha1.ExternalPods, "10.4.128.0/17"))
	}
	for _, m := range r.machines { // an API server that is down was seen before
		if m.controlPlane {
			address := v1alpha1.APIServerAddress{Address: m.advertised.String()}
			if !m.running {
				address.MissingSince = ptr.To(metav1.NewTime(randomClusterTime.Add(-24 * time.Hour)))
			}
			p.Status.APIServers = append(p.Status.APIServers, address)
		}
	}
	return p
}

var randomClusterTime = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func peerAt(name string, role v1alpha1.ExternalRole, cidr v1alpha1.CIDR) v1alpha1.Peer {
	return v1alpha1.Peer{Name: name, Role: role, CIDRs: []v1alpha1.CIDR{cidr}}
}

// connection is one that is, or is not, to be made.
type connection struct {
	why      string
	from, to netip.Addr
	node     string
	port     uint16
	allowed  bool
}

// connections are what the cluster needs of its protected machines, and some of what
// the policy does not let in.
func (r *reality) connections() []connection {
	var out []connection
	stranger, pod := netip.MustParseAddr("192.0.2.66"), netip.MustParseAddr("172.16.3.7")
	if r.podsFlat {
		pod = netip.MustParseAddr("10.4.200.7")
	}
	for _, to := range r.machines {
		if !to.labelled { // selected by its label
			continue
		}
		add := func(why string, from netip.Addr, at netip.Addr, port uint16, allowed bool) {
			out = append(out, connection{why, from, at, to.name, port, allowed})
		}
		for _, from := range r.machines {
			switch {
			case from.name == to.name:
				add("itself", to.registered, to.registered, 2379, true)
				add("itself by what all show", natAddress, natAddress, 2380, true)
			case from.controlPlane:
				add("a member", from.advertised, to.advertised, 2379, true)
				add("a member", from.advertised, to.advertised, 2380, true)
				add("an API server to a kubelet", from.registered, to.registered, to.kubelet, true)
				add("an API server to a kubelet", from.advertised, to.registered, to.kubelet, true)
			default:
				add("a worker to etcd", from.registered, to.advertised, 2379, false)
				if !r.deny { // or the profile's list lets in nodes, for metrics
					add("a worker to a kubelet", from.registered, to.registered, to.kubelet, false)
				}
			}
			if from.name != to.name && !r.balancer.IsValid() {
				add("a kubelet to an API server", from.registered, to.advertised, 6443, true)
			}
		}
		if r.balancer.IsValid() {
			add("kubelets through a load balancer", r.balancer, to.advertised, 6443, true)
		}
		if r.virtual.IsValid() && r.shown {
			add("the holder of the virtual address", r.virtual, r.virtual, 6443, true)
		}
		add("a pod to an API server", pod, to.advertised, 6443, true)
		add("an administrator", netip.MustParseAddr("10.9.0.1"), to.advertised, 6443, true)
		for _, port := range []uint16{2379, 2380, 6443, to.kubelet} {
			add("a stranger", stranger, to.registered, port, false)
		}
		add("what all show, to etcd", natAddress, to.registered, 2379, false)
	}
	return slices.DeleteFunc(out, func(c connection) bool { return c.from == natAddress && !r.nat })
}

// tryRandomCluster says whether the policy is verified.
func tryRandomCluster(t *testing.T, seed uint64) bool {
	t.Helper()
	g, r := NewWithT(t), makeReality(seed)
	c := r.cluster()
	for i, object := range c.objects {
		c.objects[i] = cached(g, object)
	}
	snapshot, err := c.observer().Snapshot(context.Background())
	g.Expect(err).NotTo(HaveOccurred())
	snapshot.Now = randomClusterTime
	policies := plan.Compile(snapshot.Policies)
	o := assess(&policies[0], policies, snapshot)
	if !o.verdict.Holds {
		return false
	}
	whole := o.hosts
	whole.Calico, whole.Objects = whole.Whole, whole.WholeObjects
	writes := verify.Sequence(drift.Hosts(o.policy, o.policies, whole, snapshot.Calico))
	world := dataplane.New(verify.After(snapshot.Calico, writes), dataplaneNodes(snapshot))
	for _, try := range r.connections() {
		is := world.Judge(dataplane.Flow{From: try.from, To: try.to, Node: try.node, Protocol: dataplane.TCP, Port: try.port})
		if (is.Decision == dataplane.Allowed) != try.allowed {
			t.Errorf("-cluster-seed=%d: %s, from %s to %s port %d of %s: %s (%s)\nverified: %s\n%+v",
				seed, try.why, try.from, try.to, try.port, try.node, is.Decision, is.Reason, o.verdict.Message, *r)
			return true
		}
	}
	return true
}
