package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// writePKI makes the keys, certificates and kubeconfigs of one cluster, below
// --dir: made here and not with openssl, so that nothing has to be installed and
// it takes milliseconds.
func writePKI(args []string) error {
	flags := flag.NewFlagSet("pki", flag.ContinueOnError)
	dir := flags.String("dir", "", "folder to write to")
	name := flags.String("name", "", "name of the cluster: its context in the kubeconfigs")
	inside := flags.String("inside", "", "URL of the API server for the nodes")
	outside := flags.String("outside", "", "URL of the API server for people and tests")
	sans := flags.String("sans", "", "further addresses of the API server, comma-separated")
	nodes := flags.String("nodes", "", "names of the nodes, comma-separated")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := os.MkdirAll(*dir, 0o700); err != nil {
		return err
	}
	p := &pki{dir: *dir, cluster: *name}

	ca, err := p.newAuthority("ca")
	if err != nil {
		return err
	}
	frontProxy, err := p.newAuthority("front-proxy-ca")
	if err != nil {
		return err
	}
	server := []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc",
		"kubernetes.default.svc.cluster.local", "localhost", "127.0.0.1"}
	if *sans != "" {
		server = append(server, strings.Split(*sans, ",")...)
	}
	if _, err := p.issue(ca, "apiserver", "kube-apiserver", "", server); err != nil {
		return err
	}
	if _, err := p.issue(ca, "apiserver-kubelet-client", "kube-apiserver", "system:masters", nil); err != nil {
		return err
	}
	if _, err := p.issue(frontProxy, "front-proxy-client", "front-proxy-client", "", nil); err != nil {
		return err
	}
	if err := p.writeServiceAccountKey(); err != nil {
		return err
	}

	users := []struct{ file, user, group, url string }{
		{"admin", "kubernetes-admin", "system:masters", *outside},
		{"controller-manager", "system:kube-controller-manager", "", *inside},
		{"scheduler", "system:kube-scheduler", "", *inside},
		{"kube-proxy", "system:kube-proxy", "", *inside},
	}
	for _, node := range strings.Split(*nodes, ",") {
		users = append(users, struct{ file, user, group, url string }{
			node, "system:node:" + node, "system:nodes", *inside})
	}
	for _, u := range users {
		pair, err := p.issue(ca, u.file, u.user, u.group, nil)
		if err != nil {
			return err
		}
		if err := p.writeKubeconfig(u.file, u.url, ca, pair); err != nil {
			return err
		}
	}
	return nil
}

type pki struct{ dir, cluster string }

// keyPair is a certificate with its key: parsed, to sign with, and as PEM.
type keyPair struct {
	cert             *x509.Certificate
	key              crypto.Signer
	certPEM, privPEM []byte
}

func (p *pki) newAuthority(name string) (*keyPair, error) {
	return p.sign(nil, name, &x509.Certificate{
		Subject:               pkix.Name{CommonName: p.cluster + "-" + name},
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		IsCA:                  true,
		BasicConstraintsValid: true,
	})
}

// issue makes a server certificate where there are hosts, else a client's.
func (p *pki) issue(by *keyPair, file, user, group string, hosts []string) (*keyPair, error) {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: user},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if group != "" {
		template.Subject.Organization = []string{group}
	}
	if len(hosts) > 0 {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	return p.sign(by, file, template)
}

// sign makes a key, signs the certificate (by itself where there is no signer)
// and writes both. The times are wide enough for a cluster that is kept for long
// and for a clock that is set back a little.
func (p *pki) sign(by *keyPair, file string, template *x509.Certificate) (*keyPair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	template.NotBefore = time.Now().Add(-time.Hour)
	template.NotAfter = time.Now().AddDate(1, 0, 0)
	parent, signer := template, crypto.Signer(key)
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, fmt.Errorf("cannot sign %s: %w", file, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	pair := &keyPair{cert: cert, key: key,
		certPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		privPEM: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})}
	if err := p.write(file+".crt", pair.certPEM); err != nil {
		return nil, err
	}
	return pair, p.write(file+".key", pair.privPEM)
}

// writeServiceAccountKey writes the key that signs the tokens of pods: RSA, the
// one kind that every version and client takes.
func (p *pki) writeServiceAccountKey() error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	err = p.write("sa.key", pem.EncodeToMemory(&pem.Block{
		Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	if err != nil {
		return err
	}
	return p.write("sa.pub", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))
}

func (p *pki) writeKubeconfig(file, url string, ca, user *keyPair) error {
	config := clientcmdapi.NewConfig()
	config.Clusters[p.cluster] = &clientcmdapi.Cluster{
		Server: url, CertificateAuthorityData: ca.certPEM}
	config.AuthInfos[file] = &clientcmdapi.AuthInfo{
		ClientCertificateData: user.certPEM, ClientKeyData: user.privPEM}
	config.Contexts[p.cluster] = &clientcmdapi.Context{Cluster: p.cluster, AuthInfo: file}
	config.CurrentContext = p.cluster
	return clientcmd.WriteToFile(*config, filepath.Join(p.dir, file+".kubeconfig"))
}

func (p *pki) write(file string, content []byte) error {
	return os.WriteFile(filepath.Join(p.dir, file), content, 0o600)
}
