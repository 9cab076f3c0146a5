# `agegender serve` in a container. Build: docker build -t agegender .
# Run: docker run --read-only --tmpfs /tmp -p 127.0.0.1:8000:8000 -e AGEGENDER_TOKEN=... agegender --allowed-host faces.example.org
FROM python:3.11-slim-bookworm AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY licenses licenses
COPY agegender agegender
# --build-arg TORCH_INDEX=URL with PyTorch's index of builds for the processor alone makes a tenth of the size.
ARG TORCH_INDEX=
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "torch>=2.6" torchvision \
    && /venv/bin/pip install --no-cache-dir ".[serve]"

FROM python:3.11-slim-bookworm
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin agegender
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp MPLCONFIGDIR=/tmp
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/ready', timeout=4)"]
# Listening beyond the container needs AGEGENDER_TOKEN (or --token FILE) and --allowed-host NAME, after the image's name.
ENTRYPOINT ["agegender", "serve", "--host", "0.0.0.0", "--port", "8000"]
