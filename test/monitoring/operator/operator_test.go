// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/monitoring/scrape"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

const role = "node-role.kubernetes.io/control-plane"

// later are metrics and conditions that are never set in this cluster: no host is protected, no claim is released or
// refused, and no TLS is probed, which needs networks of nodes. Package test/posture tests the metrics of probes.
var later = []string{
	"cpnp_probe_", "cpnp_certificate_", "cpnp_finding_info", "cpnp_rollout_nodes",
	"cpnp_apply_errors_total", "cpnp_released_total", "TLSCompliant",
}

// Prometheus finds the operator's program as in a cluster: by the ServiceMonitor of the chart, as the
// Prometheus operator translates it, and through the API server. Prometheus reads the metrics with
// the rights that the documentation names. The alerts are those of the installed PrometheusRule.
func TestPrometheusScrapesTheOperator(t *testing.T) {
	g, ctx := NewWithT(t), t.Context()
	g.SetDefaultEventuallyTimeout(90 * time.Second)
	g.SetDefaultEventuallyPollingInterval(500 * time.Millisecond)
	out, err := runHelm(ctx, "install", release, scrape.File("charts/cpnp-operator"), "--namespace", namespace, "--create-namespace",
		"--set", "replicas=0,metrics.serviceMonitor.enabled=true,metrics.serviceMonitor.interval=2s,"+
			"metrics.prometheusRule.enabled=true,metrics.dashboard.enabled=true")
	g.Expect(err).NotTo(HaveOccurred(), out)

	startOperator(t)
	p := scrape.StartPrometheus(t, prometheusConfig(t))
	g.Eventually(p.Targets).Should(HaveExactElements(And(
		HaveField("Health", "up"),
		HaveField("ScrapePool", "serviceMonitor/cpnp-system/cpnp-operator/0"),
		HaveField("Labels", And(HaveKeyWithValue("namespace", namespace), HaveKeyWithValue("service", "cpnp-operator-metrics"))),
	)))
	node := testbed.Node("cp-1", testbed.NodeLabels(map[string]string{role: ""}), testbed.InternalIP("10.80.0.1"))
	g.Expect(testbed.CreateNode(ctx, admin, node)).To(Succeed())
	g.Expect(admin.Create(ctx, taintPolicy())).To(Succeed())
	has := func(query string) {
		t.Helper()
		g.Eventually(func() []string { return p.CheckQueries([]string{query}) }).Should(BeEmpty())
	}
	has(`cpnp_policy_condition{policy="plane",type="Ready",status="True"} == 1`)
	has(`cpnp_policy_info{policy="plane",intent="Enforce"} == 1`)
	removeTaint(ctx, g, node) // drift that is repaired
	has(`cpnp_drift_corrected_total{policy="plane",kind="Node"} >= 1`)
	has(`cpnp_drift_detected_total{policy="plane",kind="Node",cause="Missing"} >= 1`)
	has(`cpnp_writes_total{kind="Node",result="Success"} >= 2`)
	has(`cpnp_writes_total{kind="ControlPlaneNetworkPolicy",result="Success"} >= 2`)
	has(`cpnp_verification_duration_seconds_count > 1`)
	has(`cpnp_policy_condition{policy="plane",type="BackupFresh",status="True"} == 1`)
	has(`time() - cpnp_etcd_backup_timestamp_seconds{policy="plane"} < 600`)
	has(`cpnp_etcd_backup_max_age_seconds{policy="plane"} == 86400`)
	has(`cpnp_policy_findings{policy="plane",severity="critical"} == 0`)
	has(`leader_election_master_status{name="cpnp-operator.cpnp.dev"} == 1`)

	var queries []string
	for _, q := range scrape.DashboardQueries(t) {
		if !containsAny(q, later) {
			queries = append(queries, q)
		}
	}
	g.Expect(len(queries)).To(BeNumerically(">", 20))
	g.Eventually(func() []string { return p.CheckQueries(queries) }).Should(BeEmpty())
	rules, err := p.Rules()
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(len(rules)).To(BeNumerically(">", 20))
	for _, r := range rules {
		g.Expect(r.Health).To(Equal("ok"), "%s: %s", r.Name, r.LastError)
		if r.Name != "CpnpDriftContested" { // the drift was just now
			g.Expect(r.Alerts).To(BeEmpty(), r.Name)
		}
	}

	g.Expect(admin.Delete(ctx, taintPolicy())).To(Succeed())
	g.Eventually(func() ([]scrape.Sample, error) { return p.Query(`{__name__=~"cpnp_.+",policy="plane"}`) }).
		Should(BeEmpty(), "the series go with the policy")
}

func containsAny(text string, parts []string) bool {
	for _, part := range parts {
		if strings.Contains(text, part) {
			return true
		}
	}
	return false
}

func taintPolicy() *v1alpha1.ControlPlaneNetworkPolicy {
	return &v1alpha1.ControlPlaneNetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "plane", Annotations: map[string]string{
			v1alpha1.AnnotationEtcdBackupTime: time.Now().Add(-time.Minute).UTC().Format(time.RFC3339),
		}},
		Spec: v1alpha1.ControlPlaneNetworkPolicySpec{
			Mode:         v1alpha1.ModeEnforce,
			NodeSelector: v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{role: ""}},
			Taints:       []v1alpha1.Taint{{Key: role, Effect: corev1.TaintEffectNoSchedule}},
			Posture: &v1alpha1.PostureSpec{EtcdBackup: v1alpha1.EtcdBackupPosture{
				MaxAgeSeconds: 86400, Source: v1alpha1.BackupSource{Annotation: &v1alpha1.AnnotationBackup{}},
			}},
		},
	}
}

// removeTaint removes the taint as a person would.
func removeTaint(ctx context.Context, g *WithT, node *corev1.Node) {
	out, err := cluster.Kubectl(ctx, "taint", "node", node.Name, role+":NoSchedule-").CombinedOutput()
	g.Expect(err).NotTo(HaveOccurred(), string(out))
}

// startOperator starts the operator's program with the account from the chart,
// and makes the program an endpoint of the chart's Service.
func startOperator(t *testing.T) {
	t.Helper()
	g, ctx, dir := NewWithT(t), t.Context(), t.TempDir()
	address, err := ownAddress()
	g.Expect(err).NotTo(HaveOccurred())
	_, port, err := net.SplitHostPort(scrape.FreeAddress(t))
	g.Expect(err).NotTo(HaveOccurred())
	config := clientcmdapi.NewConfig()
	config.Clusters["test"] = &clientcmdapi.Cluster{Server: cluster.Config.Host, CertificateAuthorityData: cluster.Config.CAData}
	config.AuthInfos["operator"] = &clientcmdapi.AuthInfo{Token: tokenOf(ctx, g, namespace, release)}
	config.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: "operator"}
	config.CurrentContext = "test"
	kubeconfig := filepath.Join(dir, "kubeconfig")
	g.Expect(clientcmd.WriteToFile(*config, kubeconfig)).To(Succeed())
	log, err := os.Create(filepath.Join(dir, "log"))
	g.Expect(err).NotTo(HaveOccurred())
	cmd := exec.CommandContext(ctx, manager, "--kubeconfig="+kubeconfig, "--metrics-bind-address="+net.JoinHostPort(address, port),
		"--health-probe-bind-address=0", "--leader-elect", "--leader-election-namespace="+namespace)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	g.Expect(cmd.Start()).To(Succeed())
	t.Cleanup(func() {
		_ = cmd.Wait() // interrupted
		_ = log.Close()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("the log of the operator:\n%s", text)
		}
	})
	number, err := strconv.ParseInt(port, 10, 32)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(admin.Create(ctx, &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: "operator-of-the-test",
			Labels: map[string]string{discoveryv1.LabelServiceName: release + "-metrics", discoveryv1.LabelManagedBy: "test"},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{address}, Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(true)}}},
		Ports:       []discoveryv1.EndpointPort{{Name: ptr.To("https"), Port: ptr.To(int32(number)), Protocol: ptr.To(corev1.ProtocolTCP)}},
	})).To(Succeed())
}

// prometheusConfig returns the configuration that the Prometheus operator makes from
// the installed ServiceMonitor, with the alerts of the installed PrometheusRule.
// Prometheus runs in no pod here, so the token of a pod is in another file.
func prometheusConfig(t *testing.T) string {
	t.Helper()
	g, ctx, dir := NewWithT(t), t.Context(), t.TempDir()
	tokenFile, caFile, rulesFile := filepath.Join(dir, "token"), filepath.Join(dir, "ca.crt"), filepath.Join(dir, "rules.yaml")
	g.Expect(os.WriteFile(tokenFile, []byte(prometheusToken(ctx, g)), 0o600)).To(Succeed())
	g.Expect(os.WriteFile(caFile, cluster.Config.CAData, 0o600)).To(Succeed())
	monitor := &monitoringv1.ServiceMonitor{}
	g.Expect(runtime.DefaultUnstructuredConverter.FromUnstructured(readMonitoring(ctx, g, "ServiceMonitor").Object, monitor)).To(Succeed())
	rules, err := yaml.Marshal(readMonitoring(ctx, g, "PrometheusRule").Object["spec"])
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(os.WriteFile(rulesFile, rules, 0o600)).To(Succeed())

	apiServer := &monitoringv1.APIServerConfig{Host: cluster.Config.Host, Authorization: &monitoringv1.Authorization{CredentialsFile: tokenFile}}
	apiServer.TLSConfig = &monitoringv1.TLSConfig{}
	apiServer.TLSConfig.CAFile = caFile
	config, err := TranslateMonitor(monitor, apiServer)
	g.Expect(err).NotTo(HaveOccurred())
	const mounted = "/var/run/secrets/kubernetes.io/serviceaccount/token"
	g.Expect(strings.Count(config, mounted)).To(Equal(1), config)
	config = strings.ReplaceAll(config, mounted, tokenFile)
	// The parts that the reloader in the pod of Prometheus fills in.
	config = strings.NewReplacer("$(SHARD)", "0", "$(POD_NAME)", "prometheus-k8s-0").Replace(config)
	g.Expect(config).NotTo(ContainSubstring("$("))
	return config + fmt.Sprintf("\nrule_files: [%s]\n", rulesFile)
}

// readMonitoring returns the release's object of a kind of the Prometheus operator.
func readMonitoring(ctx context.Context, g *WithT, kind string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(schema.GroupVersionKind{Group: "monitoring.coreos.com", Version: "v1", Kind: kind})
	g.Expect(admin.Get(ctx, client.ObjectKey{Namespace: namespace, Name: release}, object)).To(Succeed())
	return object
}

// prometheusToken returns the token of an account that may discover targets,
// and read metrics by the ClusterRole of the chart.
func prometheusToken(ctx context.Context, g *WithT) string {
	const of, name = "monitoring", "prometheus"
	subjects := []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: of, Name: name}}
	meta := metav1.ObjectMeta{Namespace: namespace, Name: name}
	for _, object := range []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: of}},
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: of, Name: name}},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "cpnp-scraper"}, Subjects: subjects,
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: release + "-metrics-reader"},
		},
		&rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"services", "endpoints", "pods"}, Verbs: []string{"get", "list", "watch"}},
			{APIGroups: []string{"discovery.k8s.io"}, Resources: []string{"endpointslices"}, Verbs: []string{"get", "list", "watch"}},
		}},
		&rbacv1.RoleBinding{ObjectMeta: meta, Subjects: subjects, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name}},
	} {
		g.Expect(admin.Create(ctx, object)).To(Succeed())
	}
	return tokenOf(ctx, g, of, name)
}

func tokenOf(ctx context.Context, g *WithT, namespace, name string) string {
	request := &authenticationv1.TokenRequest{}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	g.Expect(admin.SubResource("token").Create(ctx, account, request)).To(Succeed())
	return request.Status.Token
}
