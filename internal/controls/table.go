// SPDX-License-Identifier: Apache-2.0

package controls

import "github.com/cpnp-dev/cpnp-operator/api/v1alpha1"

// The keys of the checks.
const (
	CheckPlaintext           = "tls-plaintext"
	CheckVersion             = "tls-version"
	CheckCipher              = "tls-cipher"
	CheckClientCertificate   = "tls-client-certificate"
	CheckCertificateExpired  = "tls-certificate-expired"
	CheckCertificateExpiring = "tls-certificate-expiring"
	CheckCertificateName     = "tls-certificate-name"
	CheckCertificateIssuer   = "tls-certificate-issuer"
	CheckBackupAge           = "etcd-backup-age"
	CheckHostsRestricted     = "hosts-restricted"
	CheckDrift               = "drift"
)

// Checks returns the keys of all checks.
func Checks() []string {
	return []string{
		CheckPlaintext, CheckVersion, CheckCipher, CheckClientCertificate, CheckCertificateExpired, CheckCertificateExpiring,
		CheckCertificateName, CheckCertificateIssuer, CheckBackupAge, CheckHostsRestricted, CheckDrift,
	}
}

// WithoutControls are the checks for which no benchmark has a control, with the reason.
var WithoutControls = map[string]string{
	CheckBackupAge: "the benchmarks ask for encryption and for permissions of etcd's data, and for no backup",
	CheckDrift:     "the benchmarks judge a configuration, and not whether it is kept as declared",
}

// row is a control with the related findings.
type row struct {
	Control
	checks []string
	// components are the components of the control; empty for every component.
	components []string
	// source is where the id was checked.
	source string
}

// Components, in the words of the API.
const (
	apiServer         = string(v1alpha1.PostureAPIServer)
	etcd              = string(v1alpha1.PostureEtcd)
	etcdPeer          = string(v1alpha1.PostureEtcdPeer)
	kubelet           = string(v1alpha1.PostureKubelet)
	scheduler         = string(v1alpha1.PostureScheduler)
	controllerManager = string(v1alpha1.PostureControllerManager)
)

// Versions of the benchmarks.
const (
	cisVersions = "1.12, 2.0.1" // the ids of the table are the same in both
	stigVersion = "V2R6"
	nsaVersion  = "1.2"
)

// Sources, all public.
const (
	// cisMaster, cisEtcd and cisNode are the files of kube-bench for 1.12 and 2.0, and
	// Prowler's for 2.0.1.
	cisMaster = "aquasecurity/kube-bench cfg/cis-1.12 and cfg/cis-2.0 master.yaml; prowler-cloud/prowler cis_2.0.1_kubernetes.json"
	cisEtcd   = "aquasecurity/kube-bench cfg/cis-1.12 and cfg/cis-2.0 etcd.yaml; prowler-cloud/prowler cis_2.0.1_kubernetes.json"
	cisNode   = "aquasecurity/kube-bench cfg/cis-1.12 and cfg/cis-2.0 node.yaml; prowler-cloud/prowler cis_2.0.1_kubernetes.json"
	// stigRules is a program that takes ids and categories from the XCCDF file of V2R6.
	stigRules = "k8s-health-tui internal/stig/kubernetes.go, from U_Kubernetes_V2R6_STIG"
	// stigHub shows the rules of V2R6.
	stigHub = "stighub.com, Kubernetes STIG V2R6"
	// stigMatrix names all 92 rules of the release of 2026-02-12, which is V2R6; the text is
	// that of earlier releases.
	stigMatrix = "matrix of the 92 rules in a public hardening page for Talos; text: myctrl.tools and stigviewer.com, earlier releases"
	nsaSummary = "NSA/CISA Kubernetes Hardening Guide 1.2, summary of recommendations, quoted in public repositories"
)

// servingCertificate are the checks of a certificate that a component serves.
var servingCertificate = []string{CheckCertificateExpired, CheckCertificateName, CheckCertificateIssuer}

// plainOr returns the checks that plaintext violates as well.
func plainOr(checks ...string) []string { return append([]string{CheckPlaintext}, checks...) }

func cis(id, title, source string, checks []string, components ...string) row {
	return row{Control{CIS, cisVersions, id, title}, checks, components, source}
}

func stig(id, title, source string, checks []string, components ...string) row {
	return row{Control{STIG, stigVersion, id, title}, checks, components, source}
}

func nsa(id, title string, checks []string, components ...string) row {
	return row{Control{NSA, nsaVersion, id, title}, checks, components, nsaSummary}
}

// table has all controls. The order is the order in findings.
var table = []row{
	cis("1.2.24", "API server serves with its own certificate", cisMaster, plainOr(servingCertificate...), apiServer),
	cis("1.2.29", "API server accepts strong ciphers alone", cisMaster, []string{CheckCipher}, apiServer),
	cis("1.3.7", "controller manager listens on loopback", cisMaster, []string{CheckPlaintext}, controllerManager),
	cis("1.4.2", "scheduler listens on loopback", cisMaster, []string{CheckPlaintext}, scheduler),
	cis("2.1", "etcd serves clients with its own certificate", cisEtcd, plainOr(CheckCertificateExpired, CheckCertificateName), etcd),
	cis("2.2", "etcd demands certificates of clients", cisEtcd, []string{CheckClientCertificate}, etcd),
	cis("2.3", "etcd signs no certificate for itself", cisEtcd, []string{CheckCertificateIssuer}, etcd),
	cis("2.4", "peers of etcd have certificates", cisEtcd, plainOr(CheckCertificateExpired, CheckCertificateName), etcdPeer),
	cis("2.5", "peers of etcd demand certificates of each other", cisEtcd, []string{CheckClientCertificate}, etcdPeer),
	cis("2.6", "peers of etcd sign no certificates for themselves", cisEtcd, []string{CheckCertificateIssuer}, etcdPeer),
	cis("4.2.3", "kubelet has a CA for clients", cisNode, []string{CheckClientCertificate}, kubelet),
	cis("4.2.4", "kubelet has no read-only port", cisNode, []string{CheckPlaintext}, kubelet),
	cis("4.2.9", "kubelet serves with its own certificate", cisNode, plainOr(servingCertificate...), kubelet),
	cis("4.2.11", "kubelet renews its serving certificate", cisNode, []string{CheckCertificateExpired, CheckCertificateExpiring}, kubelet),
	cis("4.2.12", "kubelet accepts strong ciphers alone", cisNode, []string{CheckCipher}, kubelet),

	stig("V-242376", "controller manager accepts TLS 1.2 or later", stigRules, plainOr(CheckVersion), controllerManager),
	stig("V-242377", "scheduler accepts TLS 1.2 or later", stigRules, plainOr(CheckVersion), scheduler),
	stig("V-242378", "API server accepts TLS 1.2 or later", stigRules, plainOr(CheckVersion), apiServer),
	stig("V-242379", "etcd serves clients with TLS, and signs no certificate", stigRules, plainOr(CheckVersion, CheckCertificateIssuer), etcd),
	stig("V-242380", "peers of etcd use TLS, and sign no certificates", stigRules, plainOr(CheckVersion, CheckCertificateIssuer), etcdPeer),
	stig("V-242384", "scheduler listens on loopback", stigRules, []string{CheckPlaintext}, scheduler),
	stig("V-242385", "controller manager listens on loopback", stigRules, []string{CheckPlaintext}, controllerManager),
	stig("V-242387", "kubelet has no read-only port", stigRules, []string{CheckPlaintext}, kubelet),
	stig("V-242410", "ports of the API server are restricted", stigHub, []string{CheckHostsRestricted}, apiServer),
	stig("V-242411", "ports of the scheduler are restricted", stigMatrix, []string{CheckHostsRestricted}, scheduler),
	stig("V-242412", "ports of controllers are restricted", stigHub, []string{CheckHostsRestricted}, controllerManager),
	stig("V-242413", "ports of etcd are restricted", stigMatrix, []string{CheckHostsRestricted}, etcd, etcdPeer),
	stig("V-242418", "API server accepts approved ciphers alone", stigRules, []string{CheckCipher}, apiServer),
	stig("V-242420", "kubelet has a CA for clients", stigRules, []string{CheckClientCertificate}, kubelet),
	stig("V-242423", "etcd demands certificates of clients", stigRules, []string{CheckClientCertificate}, etcd),
	stig("V-242425", "kubelet serves with its own certificate", stigRules, plainOr(servingCertificate...), kubelet),
	stig("V-242426", "peers of etcd demand certificates of each other", stigRules, []string{CheckClientCertificate}, etcdPeer),

	nsa("Network separation: firewall", "a firewall in front of control-plane nodes", []string{CheckHostsRestricted}),
	nsa("Network separation: etcd", "few reach etcd", []string{CheckClientCertificate, CheckHostsRestricted}, etcd, etcdPeer),
	nsa("Network separation: TLS", "components use authenticated, encrypted connections", []string{
		CheckPlaintext, CheckVersion, CheckClientCertificate, CheckCertificateExpired, CheckCertificateName, CheckCertificateIssuer,
	}),
}
