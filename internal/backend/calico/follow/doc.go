// SPDX-License-Identifier: Apache-2.0

// Package follow follows the API of Calico: whether and how the API is served, and the
// existing objects. A cluster may have no Calico, and Calico may come later, go, be
// migrated, or be broken. Each such state is reported, and no state blocks or ends the
// operator.
//
// The package uses reflectors instead of the manager's cache: the start of the cache fails
// for a missing kind, and the cache waits forever for an unfinished list.
//
// The required rights are below. The operator never gets a tier itself, but Calico's
// API server shows the policies of a tier only to clients with the right to get tiers.
//
// +kubebuilder:rbac:groups=apiregistration.k8s.io,resources=apiservices,verbs=list;watch
// +kubebuilder:rbac:groups=projectcalico.org,resources=tiers,verbs=get;list;watch
// +kubebuilder:rbac:groups=projectcalico.org,resources=globalnetworkpolicies;tier.globalnetworkpolicies;globalnetworksets;hostendpoints;felixconfigurations;ippools;clusterinformations,verbs=list;watch
// +kubebuilder:rbac:groups=migration.projectcalico.org,resources=datastoremigrations,verbs=list;watch
package follow
