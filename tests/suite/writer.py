# Creates ConfigMaps with several connections until the server is gone, and prints name and
# resourceVersion of each that it has acknowledged.
import base64, http.client, json, re, ssl, sys, tempfile, threading

text = open(sys.argv[1]).read()


def kept(key):
    file = tempfile.NamedTemporaryFile(delete=False)
    file.write(base64.b64decode(re.search(key + r":\s*[\"']?([A-Za-z0-9+/=]+)", text).group(1)))
    file.close()
    return file.name


context = ssl.create_default_context(cafile=kept("certificate-authority-data"))
context.load_cert_chain(kept("client-certificate-data"), kept("client-key-data"))
lock = threading.Lock()


def write(writer):
    connection = http.client.HTTPSConnection("127.0.0.1", 6443, context=context, timeout=20)
    for number in range(100000):
        name = f"write-{writer}-{number}"
        body = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "b" * 200}})
        try:
            connection.request("POST", "/api/v1/namespaces/default/configmaps", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError):
            return
        if response.status == 201:
            with lock:
                print(name, answer["metadata"]["resourceVersion"], flush=True)


threads = [threading.Thread(target=write, args=(writer,)) for writer in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
