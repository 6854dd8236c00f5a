// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

func forced(r *v1alpha1.ServiceTrafficPolicy) { r.LocalPolicy = v1alpha1.LocalForce }

func labelledDNS(s *state.Service) { s.Labels = map[string]string{"app": "web", "k8s-app": "kube-dns"} }

// outcome is the outcome of a claim of the value Local.
type outcome string

const (
	written       outcome = "written"
	held          outcome = "held back"
	missing       outcome = "told that endpoints are missing"
	told          outcome = "told that it is forced"
	notApplicable outcome = "not applicable"
)

func outcomeOf(c plan.Claim) (outcome, string) {
	switch {
	case c.NotApplicable != "":
		return notApplicable, c.NotApplicable
	case c.HoldReason != "":
		return held, c.HoldReason
	case c.Dropped != "" && c.Forced:
		return told, c.Dropped
	case c.Dropped != "":
		return missing, c.Dropped
	}
	return written, ""
}

// Local is not set where a node would then drop the traffic of a Service.
func TestLocalIsSetOnlyWhereItDropsNoTraffic(t *testing.T) {
	const balanced, port, inside = corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeNodePort, corev1.ServiceTypeClusterIP
	in, ex := plan.InternalTrafficPolicy, plan.ExternalTrafficPolicy
	excluded := func(s *state.Service) { s.Endpoints.Balanced = state.Spread{Nodes: 2, Served: 2, Ready: 2} }
	unready := func(s *state.Service) { s.Endpoints.Balanced = state.Spread{Nodes: 2, Served: 1} }
	unplaced := func(s *state.Service) { s.Endpoints.Unplaced = true }
	apiServers := named("default", "kubernetes")
	tests := map[string]struct {
		field   string
		service state.Service
		force   bool
		want    outcome
		says    string // space-separated parts of the message
	}{
		"internal, endpoints on every node": {in, service(inside), false, written, ""},
		"internal, endpoints on some nodes": {in, service(inside, on(some)), false, held,
			"2_of_5_nodes DaemonSet localPolicy:_Force cp-3,_worker-1,_worker-2"},
		"internal, no endpoints":                              {in, service(inside, on(nowhere)), false, held, "0_of_5_nodes cp-1,_cp-2,_cp-3_and_2_more"},
		"internal, no nodes":                                  {in, service(inside, on(state.Spread{})), false, held, "0_of_0_nodes"},
		"internal, not looked up":                             {in, service(inside, unlooked), false, held, ""},
		"internal, endpoints without a node":                  {in, service(inside, on(nowhere), unplaced), false, held, "without_a_node_name_are_local_to_no_node"},
		"internal, excluded nodes count for internal traffic": {in, service(inside, on(some), excluded), false, held, "2_of_5"},
		"internal, forced":                                    {in, service(inside, on(some)), true, told, "2_of_5"},
		"internal, Local already":                             {in, service(inside, on(some), alreadyLocal), false, missing, "2_of_5"},
		"internal, Local already, not looked up":              {in, service(inside, unlooked, alreadyLocal), false, written, ""},
		"internal, Local already, endpoints on every node":    {in, service(inside, alreadyLocal), false, written, ""},
		"internal, headless":                                  {in, service(inside, headless, on(nowhere)), false, notApplicable, "headless"},
		"internal, DNS on some nodes":                         {in, service(inside, named("kube-system", "kube-dns"), on(some)), false, held, "no_DNS 2_of_5"},
		"internal, DNS forced":                                {in, service(inside, named("kube-system", "kube-dns"), on(some)), true, held, "no_DNS"},
		"internal, DNS by its label, forced":                  {in, service(inside, labelledDNS, on(some)), true, held, "no_DNS"},
		"internal, OpenShift's DNS, forced":                   {in, service(inside, named("openshift-dns", "dns-default"), on(some)), true, held, "no_DNS"},
		"internal, DNS on every node":                         {in, service(inside, named("kube-system", "kube-dns")), false, written, ""},
		"internal, a foreign kube-dns":                        {in, service(inside, named("shop", "kube-dns"), on(some)), true, told, ""},
		"internal, API servers":                               {in, service(inside, apiServers), false, held, "API_servers selector"},
		"internal, API servers forced":                        {in, service(inside, apiServers), true, held, "API_servers"},
		"internal, API servers, Local already":                {in, service(inside, apiServers, alreadyLocal), true, missing, "API_servers"},
		"internal, another Service named kubernetes":          {in, service(inside, named("shop", "kubernetes")), false, written, ""},

		"external, balanced, one node is enough":                      {ex, service(balanced, on(some)), false, written, ""},
		"external, balanced, no endpoints":                            {ex, service(balanced, on(nowhere)), false, held, "no_ready_endpoint"},
		"external, balanced, no ready endpoints":                      {ex, service(balanced, unready), false, held, "no_ready_endpoint"},
		"external, balanced, no endpoints, forced":                    {ex, service(balanced, on(nowhere)), true, told, "no_ready_endpoint"},
		"external, balanced, no endpoints left":                       {ex, service(balanced, on(nowhere), alreadyLocal), false, missing, "no_ready_endpoint"},
		"external, balanced and externalIPs":                          {ex, service(balanced, on(some), externalIPs), false, held, "2_of_5 externalIPs"},
		"external, balanced by a load balancer without health checks": {ex, service(balanced, on(some), class("io.cilium/l2-announcer")), false, held, "2_of_5 io.cilium/l2-announcer"},
		"external, balanced by another class":                         {ex, service(balanced, on(some), class("service.k8s.aws/nlb")), false, written, ""},
		"external, NodePort on some nodes": {ex, service(port, on(some)), false, held,
			"2_of_5_nodes type_NodePort node.kubernetes.io/exclude-from-external-load-balancers localPolicy:_Force cp-3,_worker-1,_worker-2"},
		"external, NodePort on every node":                       {ex, service(port), false, written, ""},
		"external, NodePort on every node but the excluded ones": {ex, service(port, on(some), excluded), false, written, ""},
		"external, NodePort forced":                              {ex, service(port, on(some)), true, told, "2_of_5"},
		"external, NodePort, Local already":                      {ex, service(port, on(some), alreadyLocal), false, missing, "2_of_5"},
		"external, externalIPs on some nodes":                    {ex, service(inside, externalIPs, on(some)), false, held, "2_of_5 externalIPs"},
		"external, externalIPs on every node":                    {ex, service(inside, externalIPs), false, written, ""},
		"external, headless with externalIPs":                    {ex, service(inside, externalIPs, headless), false, notApplicable, ""},
		"external, API servers, forced":                          {ex, service(port, apiServers), true, held, "API_servers"},
		"external, ClusterIP only":                               {ex, service(inside), false, notApplicable, "ClusterIP"},
		"external, ExternalName":                                 {ex, service(corev1.ServiceTypeExternalName), false, notApplicable, "ExternalName"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			rule := entry("e", internal("Local"))
			if test.field == ex {
				rule = entry("e", external("Local"))
			}
			if test.force {
				forced(&rule)
			}
			claims, _ := plan.ServiceClaims(test.service, compile(policy("p", services(rule))))
			g.Expect(claims).To(HaveLen(1))
			g.Expect(claims[0].Field).To(Equal(test.field))
			is, message := outcomeOf(claims[0])
			g.Expect(is).To(Equal(test.want), message)
			g.Expect(len(message)).To(BeNumerically("<", 400), "the message is not shortened")
			for _, part := range strings.Fields(test.says) {
				g.Expect(message).To(ContainSubstring(strings.ReplaceAll(part, "_", " ")))
			}
		})
	}
}

func TestClusterIsNeverHeld(t *testing.T) {
	for _, s := range []state.Service{service(corev1.ServiceTypeNodePort, on(nowhere), alreadyLocal), service(corev1.ServiceTypeLoadBalancer, unlooked)} {
		claims, _ := plan.ServiceClaims(s, compile(policy("p", services(entry("e", external("Cluster")), entry("f", internal("Cluster"))))))
		g := NewWithT(t)
		g.Expect(claims).To(HaveLen(2))
		for _, c := range claims {
			is, message := outcomeOf(c)
			g.Expect(is).To(Equal(written), message)
		}
	}
}

func TestEndpointsMatterOnlyWhereLocalIsWanted(t *testing.T) {
	const balanced = corev1.ServiceTypeLoadBalancer
	both := func(r *v1alpha1.ServiceTrafficPolicy) {
		r.InternalTrafficPolicy, r.LocalPolicy = "Local", v1alpha1.LocalForce
	}
	tests := map[string]struct {
		service        state.Service
		edit           func(*v1alpha1.ServiceTrafficPolicy)
		wants, awaited bool
	}{
		"external Local is wanted and not set":                                 {service(balanced), external("Local"), true, true},
		"internal Local is wanted and not set":                                 {service(balanced), internal("Local"), true, true},
		"Local is set already":                                                 {service(balanced, alreadyLocal), external("Local"), true, false},
		"Cluster is wanted":                                                    {service(balanced), external("Cluster"), false, false},
		"only the distribution is claimed":                                     {service(balanced), func(r *v1alpha1.ServiceTrafficPolicy) { r.TrafficDistribution = "PreferSameNode" }, false, false},
		"a forced claim does not need endpoints":                               {service(balanced), both, true, false},
		"a forced claim for DNS needs endpoints, because DNS cannot be forced": {service(balanced, labelledDNS), both, true, true},
		"a forced claim for DNS that is Local does not need endpoints":         {service(balanced, labelledDNS, alreadyLocal), both, true, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			policies := compile(policy("p", services(entry("e", test.edit))))
			g.Expect(plan.WantsLocal(policies)(test.service.Service)).To(Equal(test.wants))
			g.Expect(plan.AwaitsLocal(policies)(test.service.Service)).To(Equal(test.awaited))
			g.Expect(policies[0].DeclaresLocal()).To(Equal(test.wants))
			test.service.Labels = nil
			g.Expect(plan.WantsLocal(policies)(test.service.Service)).To(BeFalse(), "the Service is not selected")
			g.Expect(plan.AwaitsLocal(policies)(test.service.Service)).To(BeFalse(), "the Service is not selected")
		})
	}
}

// A report on very many forced Services does not look at all of their endpoints.
func TestOnlyTheFirstForcedServicesAreLookedAt(t *testing.T) {
	g := NewWithT(t)
	both := entry("e", func(r *v1alpha1.ServiceTrafficPolicy) {
		r.InternalTrafficPolicy, r.LocalPolicy = "Local", v1alpha1.LocalForce
	})
	wants, asked := plan.WantsLocal(compile(policy("p", services(both)))), 0
	for range 1000 {
		if wants(service(corev1.ServiceTypeClusterIP).Service) {
			asked++
		}
	}
	g.Expect(asked).To(Equal(64))
	g.Expect(wants(service(corev1.ServiceTypeClusterIP, labelledDNS).Service)).To(BeTrue(), "endpoints decide for DNS")
	wants = plan.WantsLocal(compile(policy("p", services(entry("e", internal("Local"))))))
	for range 1000 {
		g.Expect(wants(service(corev1.ServiceTypeClusterIP).Service)).To(BeTrue())
	}
}

func TestTrafficDistributionIsNotGated(t *testing.T) {
	for _, value := range []string{"PreferClose", "PreferSameZone", "PreferSameNode"} {
		for _, s := range []state.Service{service("ClusterIP", on(nowhere)), service("ClusterIP", named("default", "kubernetes"), on(nowhere)), service("ClusterIP", headless)} {
			claims, _ := plan.ServiceClaims(s, compile(policy("p", services(entry("e", func(r *v1alpha1.ServiceTrafficPolicy) { r.TrafficDistribution = value })))))
			is, message := outcomeOf(claims[0])
			NewWithT(t).Expect(is).To(Equal(written), "%s: a preference drops no traffic: %s", value, message)
		}
	}
}
