// SPDX-License-Identifier: Apache-2.0

// Package config tests the rights that the shipped roles grant.
package config

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"github.com/cpnp-dev/cpnp-operator/internal/backup"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
)

// shippedRoles returns all Roles and ClusterRoles of this folder, by file and name.
func shippedRoles(g *WithT) map[string]rbacv1.Role {
	roles := map[string]rbacv1.Role{}
	files, err := filepath.Glob("*/*.yaml")
	g.Expect(err).NotTo(HaveOccurred())
	for _, file := range files {
		text, err := os.ReadFile(file)
		g.Expect(err).NotTo(HaveOccurred())
		for _, document := range bytes.Split(bytes.TrimPrefix(text, []byte("---\n")), []byte("\n---\n")) {
			var role rbacv1.Role // a ClusterRole has the same fields, and more
			g.Expect(yaml.Unmarshal(document, &role)).To(Or(Succeed(), MatchError(ContainSubstring("json"))), file)
			if role.Kind == "Role" || role.Kind == "ClusterRole" {
				roles[file+" "+role.Namespace+"/"+role.Name] = role
			}
		}
	}
	g.Expect(len(roles)).To(BeNumerically(">=", 10))
	return roles
}

// No shipped role grants all verbs or all resources, access to secrets, or a way to more rights.
func TestShippedRolesDoNotReachFurther(t *testing.T) {
	g := NewWithT(t)
	for name, role := range shippedRoles(g) {
		for _, rule := range role.Rules {
			all := slices.Concat(rule.APIGroups, rule.Resources, rule.Verbs, rule.NonResourceURLs)
			g.Expect(all).NotTo(ContainElement(ContainSubstring("*")), name)
			for _, verb := range []string{"escalate", "bind", "impersonate", "approve", "sign"} {
				g.Expect(rule.Verbs).NotTo(ContainElement(verb), name)
			}
			for _, resource := range rule.Resources {
				kind, subresource, _ := strings.Cut(resource, "/")
				g.Expect(kind).NotTo(BeElementOf("secrets", "serviceaccounts", "certificatesigningrequests", "podtemplates"), name)
				g.Expect(subresource).NotTo(BeElementOf("token", "exec", "proxy", "attach", "portforward", "ephemeralcontainers"), name)
			}
			if slices.Contains(rule.Resources, "pods") {
				g.Expect(rule.Verbs).To(ConsistOf("list", "watch"), name)
			}
		}
	}
}

// The ClusterRoles to read backups of etcd grant exactly the rights that each
// source needs, and are bound to nobody by default.
func TestBackupReadersGrantWhatASourceNeeds(t *testing.T) {
	g := NewWithT(t)
	roles := shippedRoles(g)
	files := map[string]string{"jobs": "jobs", "lease": "lease", "etcdDruid": "etcd-druid", "snapshotFiles": "snapshot-files"}
	g.Expect(backup.Rights()).To(HaveLen(len(files)))
	for source, rights := range backup.Rights() {
		role, is := roles["rbac/backup_reader_role.yaml /backup-reader-"+files[source]]
		g.Expect(is).To(BeTrue(), source)
		var granted []backup.Right
		for _, rule := range role.Rules {
			g.Expect(rule.APIGroups).To(HaveLen(1))
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					granted = append(granted, backup.Right{Verb: verb, Group: rule.APIGroups[0], Resource: resource})
				}
			}
		}
		g.Expect(granted).To(ConsistOf(rights), source)
	}
	bindings, err := filepath.Glob("*/*binding*.yaml")
	g.Expect(err).NotTo(HaveOccurred())
	for _, file := range bindings {
		text, err := os.ReadFile(file)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(string(text)).NotTo(ContainSubstring("backup-reader"), file)
	}
}

// The Roles to read ConfigMaps grant only the ConfigMaps that the operator reads.
func TestConfigMapsOfTheClusterAreGrantedByName(t *testing.T) {
	g := NewWithT(t)
	var granted, read []string
	for name, role := range shippedRoles(g) {
		for _, rule := range role.Rules {
			if !slices.Contains(rule.Resources, "configmaps") {
				continue
			}
			g.Expect(role.Kind).To(Equal("Role"), "a ClusterRole reaches every namespace: "+name)
			g.Expect(rule.Verbs).To(ConsistOf("list", "watch"))
			g.Expect(rule.ResourceNames).NotTo(BeEmpty(), "a rule without names grants every name")
			for _, configMap := range rule.ResourceNames {
				granted = append(granted, fmt.Sprintf("%s/%s", role.Namespace, configMap))
			}
		}
	}
	for _, name := range profile.ConfigMaps() {
		read = append(read, name.String())
	}
	g.Expect(granted).To(ConsistOf(read))
}
