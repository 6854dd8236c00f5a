// SPDX-License-Identifier: Apache-2.0

// Command chart writes what the Helm chart takes over from config/: the CRDs, the rules of the
// roles, the admission policies, the pods' environment, the alerts and the dashboard. So the
// two ways to install the operator grant and define the same. The command also lists the values
// of the chart.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"
)

const (
	config = "config"
	chart  = "charts/cpnp-operator"
	files  = chart + "/files"
	note   = "# Written by `make chart-files` from config/. Do not edit.\n"
	// healthChecks has a folder for each kind.
	healthChecks = "examples/gitops/argo-cd/resource_customizations/cpnp.dev"
)

// copied are files of config/ that are taken over unchanged, by folder of the chart.
var copied = map[string][]string{
	"crds": {"crd/bases/*.yaml"},
	"rbac": {
		"rbac/role.yaml", "rbac/metrics_auth_role.yaml", "rbac/metrics_reader_role.yaml", "rbac/leader_election_role.yaml",
		"rbac/controlplanenetworkpolicy_*_role.yaml", "rbac/enactment_admission.yaml", "rbac/operator_admission.yaml",
		"rbac/backup_reader_role.yaml", "rbac/reports_role.yaml",
	},
	"configmaps":   {"configmaps/role.yaml"},
	"guard":        {"guard/admission.yaml", "guard/break_glass_role.yaml"},
	"probe":        {"probe/role.yaml", "probe/admission.yaml", "probe/daemonset.yaml"},
	"etcdsnapshot": {"etcd-snapshot/role.yaml", "etcd-snapshot/cronjob.yaml"},
}

func main() {
	if err := write(); err != nil {
		fmt.Fprintln(os.Stderr, "writing the files of the chart:", err)
		os.Exit(1)
	}
}

func write() error {
	if err := os.RemoveAll(files); err != nil {
		return err
	}
	for folder, patterns := range copied {
		if err := os.MkdirAll(filepath.Join(files, folder), 0o755); err != nil {
			return err
		}
		for _, pattern := range patterns {
			if err := copyAll(folder, pattern); err != nil {
				return err
			}
		}
	}
	return errors.Join(copyHealthChecks(), writeEnvironment(), writeMonitoring(), writeValues())
}

// copyHealthChecks takes over the health checks for Argo CD, which have the form of a
// contribution to Argo CD in examples/.
func copyHealthChecks() error {
	found, err := filepath.Glob(filepath.Join(healthChecks, "*", "health.lua"))
	if err != nil || len(found) == 0 {
		return errors.Join(fmt.Errorf("there is no health check in %s", healthChecks), err)
	}
	folder := filepath.Join(files, "argocd")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, file := range found {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		kind := filepath.Base(filepath.Dir(file))
		if err := os.WriteFile(filepath.Join(folder, kind+".lua"), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func copyAll(folder, pattern string) error {
	found, err := filepath.Glob(filepath.Join(config, pattern))
	if err != nil || len(found) == 0 {
		return errors.Join(fmt.Errorf("there is no %s/%s", config, pattern), err)
	}
	for _, file := range found {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(files, folder, filepath.Base(file)), append([]byte(note), text...), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// writeEnvironment takes the environment of the operator's container out of its
// Deployment.
func writeEnvironment() error {
	text, err := os.ReadFile(filepath.Join(config, "manager", "manager.yaml"))
	if err != nil {
		return err
	}
	var deployment struct {
		Spec struct {
			Template struct {
				Spec struct {
					Containers []struct {
						Env []any `json:"env"`
					} `json:"containers"`
				} `json:"spec"`
			} `json:"template"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(text, &deployment); err != nil {
		return err
	}
	containers := deployment.Spec.Template.Spec.Containers
	if len(containers) != 1 || len(containers[0].Env) == 0 {
		return errors.New("config/manager/manager.yaml has not one container with an environment")
	}
	out, err := yaml.Marshal(map[string]any{"env": containers[0].Env})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(files, "manager_env.yaml"), append([]byte(note), out...), 0o600)
}
