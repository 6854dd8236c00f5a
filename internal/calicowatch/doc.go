// SPDX-License-Identifier: Apache-2.0

// Package calicowatch follows the API of Calico: whether it is there, how it is
// served, and what is in it. A cluster without Calico, a Calico that comes
// later, goes, is migrated or is broken are states like any other, which it
// tells of: nothing here blocks or ends the operator.
//
// It is made of reflectors and not of the manager's cache, whose start fails for
// a kind that is not there, and which waits for ever for a server that never
// finishes its list.
//
// What the operator needs for it is below. To get tiers is not something that is
// done here: Calico's API server shows nobody a tier's policies without it.
//
// +kubebuilder:rbac:groups=apiregistration.k8s.io,resources=apiservices,verbs=list;watch
// +kubebuilder:rbac:groups=projectcalico.org,resources=tiers,verbs=get;list;watch
// +kubebuilder:rbac:groups=projectcalico.org,resources=globalnetworkpolicies;tier.globalnetworkpolicies;globalnetworksets;hostendpoints;felixconfigurations;ippools;clusterinformations,verbs=list;watch
// +kubebuilder:rbac:groups=migration.projectcalico.org,resources=datastoremigrations,verbs=list;watch
package calicowatch
