// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Profile says what kind of cluster this is.
type Profile struct {
	// distribution of Kubernetes. Auto finds it out; the status says which one
	// and why.
	// +kubebuilder:default=Auto
	// +optional
	Distribution Distribution `json:"distribution,omitempty"`

	// cni is what connects the pods. Auto finds it out; the status says which
	// one and why.
	// +kubebuilder:default=Auto
	// +optional
	CNI CNI `json:"cni,omitempty"`

	// addOns are parts of the control plane that need flows of their own.
	// +kubebuilder:validation:MaxItems=16
	// +listType=set
	// +optional
	AddOns []AddOn `json:"addOns,omitempty"`

	// apiServerPorts are further ports at which the API servers are reached on
	// the selected nodes, such as that of a load balancer there. Those of the
	// API servers themselves are read from the cluster.
	// +kubebuilder:validation:MaxItems=8
	// +listType=set
	// +optional
	APIServerPorts []PortNumber `json:"apiServerPorts,omitempty"`
}

// PortNumber is the number of a port.
//
// +kubebuilder:validation:Minimum=1
// +kubebuilder:validation:Maximum=65535
type PortNumber int32

// Distribution is a distribution of Kubernetes. managed is one whose control
// plane is not on nodes of the cluster: it has no hosts to protect.
//
// +kubebuilder:validation:Enum=Auto;kubeadm;rke2;k3s;talos;openshift;k0s;managed
type Distribution string

// DistributionAuto is found out.
const DistributionAuto Distribution = "Auto"

// CNI is what connects pods.
//
// +kubebuilder:validation:Enum=Auto;calico;canal;flannel;cilium;ovn-kubernetes
type CNI string

// CNIAuto is found out.
const CNIAuto CNI = "Auto"

// AddOn is a part of the control plane that not every cluster has.
//
// +kubebuilder:validation:Enum=keepalived;konnectivity;kube-vip;metallb;node-local-dns
type AddOn string
