# $5: the version of HTTP.
set -e
call() { curl --silent --fail --cacert "$ca" "$version" --max-time 200 "$@"; }
url=$1 ca=$2 upload=$4 version=--http$5
call "$url"
call --output /dev/null --write-out '%{size_download}\n' "$url/files/large"
call --output /dev/null --write-out '%{http_code}\n' --upload-file "$upload" "$url/files/uploaded"
call --no-buffer "$url/stream" | { read -r first; call "$url/ack"; read -r second; echo "$first $second"; }
