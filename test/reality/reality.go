// SPDX-License-Identifier: Apache-2.0

// Package reality makes random clusters. The test knows the whole cluster, and Kubernetes
// shows only a part: shared or missing addresses, API servers on a separate network that
// come and go, lost labels, load balancers, kubelets on other ports, pods on the nodes'
// network.
package reality

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// Machine is a node as it is.
type Machine struct {
	Name         string
	ControlPlane bool
	Labelled     bool
	// Registered is the address shown by the kubelet, Advertised the address of the API
	// server; both may be the same.
	Registered, Advertised netip.Addr
	Running                bool // the API server runs
	Kubelet                uint16
}

// Reality is a cluster as it is.
type Reality struct {
	*rand.Rand
	Machines []Machine
	NAT      bool // all show NATAddress as well, or, with NATOnly, no other address
	NATOnly  bool
	Balancer netip.Addr // connects in place of its clients, if valid
	Virtual  netip.Addr // held by the first machine, if valid
	Shown    bool       // how members reach the API servers
	PodsFlat bool       // pods have addresses of the nodes' network
	Deny     bool       // unlisted traffic
}

// Addresses of other machines.
var (
	NATAddress = netip.MustParseAddr("10.0.2.15")
	Stranger   = netip.MustParseAddr("192.0.2.66")
	Admin      = netip.MustParseAddr("10.9.0.1")
	balancer   = netip.MustParseAddr("10.4.9.5")
)

// The tried ports, beside the kubelets' ports.
const (
	APIServerPort = 6443
	EtcdPort      = 2379
	PeersPort     = 2380
)

// Make makes the cluster of this seed.
func Make(seed uint64) *Reality {
	r := &Reality{Rand: rand.New(rand.NewPCG(seed, 14))}
	separate := r.IntN(2) == 0
	count := 1 + r.IntN(4)
	// For an API server on a separate network, only the label tells the node.
	lost := r.IntN(count + 2)
	if separate {
		lost = count
	}
	for i := range count + r.IntN(4) {
		m := Machine{
			Name: fmt.Sprintf("cp-%d", i+1), ControlPlane: i < count, Labelled: i < count && (i != lost || count == 1),
			Registered: netip.AddrFrom4([4]byte{10, 4, 0, byte(10 + i)}), Running: i < count && r.IntN(4) > 0, Kubelet: 10250,
		}
		if !m.ControlPlane {
			m.Name = fmt.Sprintf("worker-%d", i-count+1)
		}
		m.Advertised = m.Registered
		if m.ControlPlane && separate {
			m.Advertised = netip.AddrFrom4([4]byte{10, 30, 0, byte(10 + i)})
		}
		if r.IntN(5) == 0 {
			m.Kubelet = 10350
		}
		r.Machines = append(r.Machines, m)
	}
	r.Machines[0].Running = true
	several := len(r.Machines) > 1 // an address shown by a single node belongs to the node
	r.NAT, r.NATOnly = several && r.IntN(4) == 0, several && r.IntN(20) == 0
	switch r.IntN(4) {
	case 0:
		r.Balancer = balancer
	case 1:
		r.Virtual = netip.MustParseAddr("10.4.0.100")
	}
	r.Shown, r.PodsFlat, r.Deny = r.IntN(3) > 0, r.IntN(5) == 0, r.IntN(2) == 0
	return r
}

// Objects are what Kubernetes shows, but for where the API servers are.
func (r *Reality) Objects() []client.Object {
	var objects []client.Object
	for _, m := range r.Machines {
		objects = append(objects, r.node(m))
	}
	kubeadm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "kubeadm-config"}}
	if r.Shown {
		endpoint := r.Machines[0].Advertised
		switch {
		case r.Balancer.IsValid():
			endpoint = netip.MustParseAddr("10.4.9.100")
		case r.Virtual.IsValid():
			endpoint = r.Virtual
		}
		kubeadm.Data = map[string]string{"ClusterConfiguration": fmt.Sprintf("controlPlaneEndpoint: %s:%d\n", endpoint, APIServerPort)}
	}
	objects = append(objects, kubeadm, daemonSet("kube-system", "calico-node"))
	if r.PodsFlat {
		objects = append(objects, daemonSet("kube-system", "aws-node"))
	}
	return objects
}

// daemonSet returns a DaemonSet without content: only the name matters.
func daemonSet(namespace, name string) *appsv1.DaemonSet {
	labels := map[string]string{"k8s-app": name}
	return &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: appsv1.DaemonSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: name, Image: name}}},
			},
		},
	}
}

// Pools are the address pools of Calico; nil if pods have addresses of the nodes' network.
func (r *Reality) Pools() []v3.IPPool {
	if r.PodsFlat {
		return nil
	}
	return []v3.IPPool{{ObjectMeta: metav1.ObjectMeta{Name: "pods"}, Spec: v3.IPPoolSpec{CIDR: "172.16.0.0/16"}}}
}

// Pod is the address of a pod.
func (r *Reality) Pod() netip.Addr {
	if r.PodsFlat {
		return netip.MustParseAddr("10.4.200.7")
	}
	return netip.MustParseAddr("172.16.3.7")
}

// Servers are the addresses of the running API servers, or of all API servers.
func (r *Reality) Servers(all bool) []netip.Addr {
	var servers []netip.Addr
	for _, m := range r.Machines {
		if m.ControlPlane && (m.Running || all) {
			servers = append(servers, m.Advertised)
		}
	}
	return servers
}

func (r *Reality) node(m Machine) *corev1.Node {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: m.Name, Labels: map[string]string{}}}
	if m.Labelled {
		node.Labels["node-role.kubernetes.io/control-plane"] = ""
	}
	show := func(a netip.Addr) {
		node.Status.Addresses = append(node.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: a.String()})
	}
	if r.NAT || r.NATOnly {
		show(NATAddress)
	}
	if !r.NATOnly {
		show(m.Registered)
	}
	node.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(m.Kubelet)
	node.Status.NodeInfo.KubeletVersion = "v1.35.2"
	return node
}

// Policy restricts all known components of the control plane. The policy describes the load
// balancer, or does not mention load balancers.
func (r *Reality) Policy() *v1alpha1.ControlPlaneNetworkPolicy {
	controlPlane := []v1alpha1.PeerReference{{Role: v1alpha1.RoleControlPlane}}
	p := &v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p", Generation: 1, Finalizers: []string{v1alpha1.Finalizer}}}
	p.Spec = v1alpha1.ControlPlaneNetworkPolicySpec{
		Mode: v1alpha1.ModeEnforce, Rollout: &v1alpha1.Rollout{},
		NodeSelector: v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"node-role.kubernetes.io/control-plane": ""}},
		Network: &v1alpha1.NetworkSpec{
			HostBackend: v1alpha1.HostBackendAuto, Failsafe: v1alpha1.FailsafeScope, Unlisted: v1alpha1.UnlistedPass,
			Peers: []v1alpha1.Peer{{Name: "admins", Role: v1alpha1.ExternalAdmin, CIDRs: []v1alpha1.CIDR{"10.9.0.0/16"}}},
			Components: []v1alpha1.Component{
				{Name: "apiServer", AllowFrom: []v1alpha1.PeerReference{{Peer: "admins"}}}, {Name: "etcd", AllowFrom: controlPlane}, {Name: "kubelet"},
			},
		},
	}
	if r.Deny {
		p.Spec.Network.Unlisted = v1alpha1.UnlistedDeny
	}
	if r.IntN(3) > 0 {
		if r.Balancer.IsValid() {
			p.Spec.Network.Peers = append(p.Spec.Network.Peers, peerAt("proxies", v1alpha1.ExternalLoadBalancer, "10.4.9.5/32"))
		} else {
			p.Spec.Profile.LoadBalancer = v1alpha1.LoadBalancerNone
		}
	}
	if r.PodsFlat && r.IntN(2) == 0 {
		p.Spec.Network.Peers = append(p.Spec.Network.Peers, peerAt("pods", v1alpha1.ExternalPods, "10.4.128.0/17"))
	}
	return p
}

func peerAt(name string, role v1alpha1.ExternalRole, cidr v1alpha1.CIDR) v1alpha1.Peer {
	return v1alpha1.Peer{Name: name, Role: role, CIDRs: []v1alpha1.CIDR{cidr}}
}

// Connection is a connection that must, or must not, be possible.
type Connection struct {
	Why      string
	From, To netip.Addr
	Node     string
	Port     uint16
	Allowed  bool
}

// Connections are the needed connections to the protected machines, and some connections
// that the policy must deny.
func (r *Reality) Connections() []Connection {
	var out []Connection
	for _, to := range r.Machines {
		if !to.Labelled { // selected by its label
			continue
		}
		add := func(why string, from netip.Addr, at netip.Addr, port uint16, allowed bool) {
			out = append(out, Connection{why, from, at, to.Name, port, allowed})
		}
		for _, from := range r.Machines {
			switch {
			case from.Name == to.Name:
				add("itself", to.Registered, to.Registered, EtcdPort, true)
				add("itself by what all show", NATAddress, NATAddress, PeersPort, true)
			case from.ControlPlane:
				add("a member", from.Advertised, to.Advertised, EtcdPort, true)
				add("a member", from.Advertised, to.Advertised, PeersPort, true)
				add("an API server to a kubelet", from.Registered, to.Registered, to.Kubelet, true)
				add("an API server to a kubelet", from.Advertised, to.Registered, to.Kubelet, true)
			default:
				add("a worker to etcd", from.Registered, to.Advertised, EtcdPort, false)
				if !r.Deny { // or the profile's list lets in nodes, for metrics
					add("a worker to a kubelet", from.Registered, to.Registered, to.Kubelet, false)
				}
			}
			if from.Name != to.Name && !r.Balancer.IsValid() {
				add("a kubelet to an API server", from.Registered, to.Advertised, APIServerPort, true)
			}
		}
		if r.Balancer.IsValid() {
			add("kubelets through a load balancer", r.Balancer, to.Advertised, APIServerPort, true)
		}
		if r.Virtual.IsValid() && r.Shown {
			add("the holder of the virtual address", r.Virtual, r.Virtual, APIServerPort, true)
		}
		add("a pod to an API server", r.Pod(), to.Advertised, APIServerPort, true)
		add("an administrator", Admin, to.Advertised, APIServerPort, true)
		for _, port := range []uint16{EtcdPort, PeersPort, APIServerPort, to.Kubelet} {
			add("a stranger", Stranger, to.Registered, port, false)
		}
		add("what all show, to etcd", NATAddress, to.Registered, EtcdPort, false)
	}
	return slices.DeleteFunc(out, func(c Connection) bool { return c.From == NATAddress && !r.NAT })
}
