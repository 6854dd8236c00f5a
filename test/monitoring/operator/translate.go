// SPDX-License-Identifier: Apache-2.0

// Package operator has a real Prometheus scrape the operator's program, as the chart asks for
// it.
package operator

import (
	"fmt"
	"log/slog"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus-operator/prometheus-operator/pkg/assets"
	promoperator "github.com/prometheus-operator/prometheus-operator/pkg/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// TranslateMonitor returns the Prometheus operator's configuration for a ServiceMonitor,
// for a Prometheus that finds targets through an API server.
func TranslateMonitor(monitor *monitoringv1.ServiceMonitor, apiServer *monitoringv1.APIServerConfig) (string, error) {
	p := &monitoringv1.Prometheus{
		ObjectMeta: metav1.ObjectMeta{Namespace: "monitoring", Name: "k8s"},
		Spec: monitoringv1.PrometheusSpec{
			CommonPrometheusFields: monitoringv1.CommonPrometheusFields{
				ServiceMonitorSelector: &metav1.LabelSelector{}, ServiceMonitorNamespaceSelector: &metav1.LabelSelector{},
				ScrapeInterval: "2s", APIServerConfig: apiServer, ServiceDiscoveryRole: ptr.To(monitoringv1.EndpointSliceRole),
			},
			EvaluationInterval: "1s",
		},
	}
	generator, err := promoperator.NewConfigGenerator(slog.New(slog.DiscardHandler), p, promoperator.WithEndpointSliceSupport())
	if err != nil {
		return "", fmt.Errorf("preparing the translation: %w", err)
	}
	monitors := map[string]*monitoringv1.ServiceMonitor{monitor.Namespace + "/" + monitor.Name: monitor}
	text, err := generator.GenerateServerConfiguration(p, monitors, nil, nil, nil, assets.NewTestStoreBuilder(), nil, nil, nil, nil)
	if err != nil {
		return "", fmt.Errorf("translating ServiceMonitor %s: %w", monitor.Name, err)
	}
	return string(text), nil
}
